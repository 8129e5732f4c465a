"""The real process under SIGKILL: whatever was confirmed is there when it starts again."""
