"""Blynk's MQTT device API (Blynk documentation, device-mqtt-api)."""
