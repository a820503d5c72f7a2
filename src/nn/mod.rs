//! Networks: cells, heads, weights and the kernels that serve them.
