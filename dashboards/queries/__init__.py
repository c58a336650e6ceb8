"""All PromQL of the platform: functions from Config to an expression, one module for each subject."""
