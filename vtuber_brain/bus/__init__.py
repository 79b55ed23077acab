"""The bus: what the brain says to voice and avatar over MQTT, and what they and the operator say back."""
