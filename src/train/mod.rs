//! Truncated backpropagation through time and the gate between challenger and champion.
