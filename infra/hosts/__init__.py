"""Where hosts come from: real machines reached by ssh, or systemd-nspawn hosts on this machine."""
