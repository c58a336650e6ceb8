"""What every service shares: settings, errors, problem documents, logs, metrics, health, time, durable files."""
