//! One series: the grid, its scale, its recent context and the features made of them.
