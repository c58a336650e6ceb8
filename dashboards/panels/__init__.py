"""Every panel of the boards: functions from Config to Panel, one module for each subject of `queries/`."""
