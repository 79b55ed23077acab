"""What any long-lived service needs: logs, retries, metrics, supervised children, a word to systemd. Knows no chat."""
