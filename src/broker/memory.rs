//! A transactional broker in memory, for simulation.
