"""The brain of a VTuber as a service: chat in, judged, answered by a language model, spoken over MQTT."""
