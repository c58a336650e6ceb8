// Every word of the page itself, in both languages; panels bring their own.

export const TEXTS = {
  zh: {
    site: "院区", allSites: "全部", range: "时间", wall: "大屏", wallOff: "退出大屏", leave: "退出",
    language: "English", door: "请输入访问令牌",
    doorHint: "令牌须含 ops 权限，只保存在本标签页，关闭即失效。", token: "令牌", enter: "进入",
    refused: "令牌无效或已过期。", forbidden: "该令牌没有 ops 权限。",
    updated: "更新于", away: "无法连接监控服务，显示的是旧数据：", noAlerts: "目前没有告警",
    noData: "暂无数据", noTraffic: "此时段无数据", ok: "正常", warning: "注意", critical: "异常", unknown: "无数据",
    good: "正常时：", since: "自", page: "紧急", ticket: "待办", now: "当前", highest: "最高", runbook: "处置手册",
  },
  en: {
    site: "Site", allSites: "All", range: "Time", wall: "Wall", wallOff: "Leave wall", leave: "Log out",
    language: "中文", door: "Enter an access token",
    doorHint: "It needs the scope ops, stays in this tab alone and is gone when the tab is closed.",
    token: "Token", enter: "Enter",
    refused: "The token is not valid, or no longer.", forbidden: "The token lacks the scope ops.",
    updated: "Updated", away: "The metrics cannot be reached; what is shown is old:", noAlerts: "No alert at present",
    noData: "No data", noTraffic: "Nothing in this period", ok: "good", warning: "look", critical: "act", unknown: "no data",
    good: "Good:", since: "since", page: "urgent", ticket: "today", now: "now", highest: "highest", runbook: "runbook",
  },
};
