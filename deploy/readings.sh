#!/bin/sh
# Writes readings of twenty sensors, one per second each, as `key<TAB>{"time":milliseconds,"value":number}`.
# The season is two minutes. Each sensor has its own phase and amplitude, some noise, and a few spikes.
#   readings.sh [SECONDS]     ends after this many seconds; without an argument it runs until it is stopped
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
