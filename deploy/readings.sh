#!/bin/sh
# Readings to forecast: twenty sensors, each once a second, as `key<TAB>{"time":milliseconds,"value":number}`.
# A rhythm of two minutes, each sensor with its own phase and height, some noise, and now and then a spike.
#   readings.sh [SECONDS]     ends by itself after so many seconds; else it goes on
left=${1:--1}
while [ "$left" -ne 0 ]; do
    awk -v now="$(date +%s)" 'BEGIN {
        srand(now)
        for (sensor = 1; sensor <= 20; sensor++) {
            value = 20 + sensor + (2 + sensor / 4) * sin(6.2831853 * (now / 120 + sensor / 20)) + rand() - 0.5
            if (rand() < 0.001) value += 15
            printf "sensor-%02d\t{\"time\":%d000,\"value\":%.3f}\n", sensor, now, value
        }
    }' || exit
    left=$((left - 1))
    sleep 1
done
