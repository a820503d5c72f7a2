//! Experts, mixture, calibration, anomaly score and accuracy measures.
