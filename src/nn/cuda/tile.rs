//! How a layer's rows are cut into thread blocks.
//!
//! A block should have as many rows as let all blocks run at the same time: more rows leave multiprocessors idle, fewer
//! read the weights more often. Within a block, a thread with more rows reads each weight once for more of them, which
//! saves shared-memory bandwidth; but a multiprocessor needs a warp for each of its four schedulers.

use crate::nn::kernel::LANES;

/// Rows per thread and most threads per block of the kernels in `sequence.cu`, the best first.
const SIZES: [(usize, usize); 4] = [(16, 256), (8, 256), (4, 512), (2, 512)];

/// Threads that keep a multiprocessor busy: one warp of 32 for each of its four schedulers.
const BUSY_THREADS: usize = 128;

/// Quads of weights that the kernels load at a time. The number of all quads is a multiple of it, since units are
/// padded.
const QUADS_TOGETHER: usize = 4;

/// Most units of a layer, padded, that the kernels support. The matrix products of a wider layer fill a GPU without
/// them.
pub(super) const MAX_WIDTH: usize = 512;

/// The limits of a GPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::nn) struct GpuLimits {
    /// Number of multiprocessors.
    pub(in crate::nn) multiprocessors: usize,
    /// Bytes of shared memory that one block may use.
    pub(in crate::nn) shared_memory: usize,
}

/// What a kernel stores in shared memory.
#[derive(Debug, Clone, Copy)]
pub(super) struct SharedMemory {
    /// Units of the layer, padded.
    pub(super) width: usize,
    /// Bytes per row of the tile.
    pub(super) row: usize,
    /// Bytes per quad: the weights of four inputs for all sums.
    pub(super) quad: usize,
    /// Number of quads.
    pub(super) quads: usize,
}

/// How a kernel is launched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tile {
    /// Rows per thread.
    pub(super) thread_rows: usize,
    /// Threads per unit.
    pub(super) groups: usize,
    /// Number of blocks.
    pub(super) blocks: usize,
    /// Quads of weights that stay in shared memory.
    pub(super) resident: usize,
    /// Bytes of shared memory per block.
    pub(super) shared: usize,
}

impl Tile {
    /// Cuts rows into tiles; `None` where the GPU has too little shared memory or the layer is too wide.
    pub(super) fn choose(limits: GpuLimits, rows: usize, memory: SharedMemory) -> Option<Self> {
        debug_assert_eq!(memory.width % LANES, 0);
        let wanted = rows.div_ceil(limits.multiprocessors);
        SIZES.into_iter().find_map(|(thread_rows, threads)| {
            let smallest = thread_rows == SIZES[SIZES.len() - 1].0;
            let fitting = (limits.shared_memory / (memory.row * thread_rows)).min(threads / memory.width);
            let groups = wanted.div_ceil(thread_rows).min(fitting);
            let good = thread_rows <= wanted.next_power_of_two() && groups * memory.width >= BUSY_THREADS;
            if groups == 0 || !(good || smallest) {
                return None;
            }
            let tile = thread_rows * groups;
            let resident = ((limits.shared_memory - tile * memory.row) / memory.quad).min(memory.quads);
            let resident = resident - resident % QUADS_TOGETHER;
            let shared = tile * memory.row + resident * memory.quad;
            Some(Self { thread_rows, groups, blocks: rows.div_ceil(tile), resident, shared })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const H100: GpuLimits = GpuLimits { multiprocessors: 132, shared_memory: 227 * 1024 };

    /// The shared memory of the forward pass of a GRU.
    fn gru(width: usize) -> SharedMemory {
        SharedMemory { width, row: 2 * width * 4, quad: 3 * width * 16, quads: width / 4 }
    }

    #[test]
    fn all_blocks_run_at_the_same_time_where_possible() {
        for width in [16, 64, 128, 144, 256] {
            for rows in [1, 7, 132, 256, 1024] {
                let tile = Tile::choose(H100, rows, gru(width)).unwrap();
                assert!(tile.blocks <= H100.multiprocessors, "{width} {rows}: {tile:?}");
                assert!(tile.blocks * tile.thread_rows * tile.groups >= rows);
            }
        }
    }

    #[test]
    fn a_block_respects_the_limits_of_threads_and_shared_memory() {
        for shared in [16 * 1024, 48 * 1024, 99 * 1024, H100.shared_memory] {
            for width in (16..=MAX_WIDTH).step_by(16) {
                for rows in [1, 300, 100_000] {
                    let tile = Tile::choose(GpuLimits { shared_memory: shared, ..H100 }, rows, gru(width)).unwrap();
                    let (_, threads) = SIZES.into_iter().find(|(rows, _)| *rows == tile.thread_rows).unwrap();
                    assert_eq!(tile.resident % QUADS_TOGETHER, 0);
                    assert!(tile.shared <= shared && tile.groups * width <= threads, "{width} {rows}: {tile:?}");
                }
            }
        }
    }

    #[test]
    fn small_weights_are_resident_and_large_weights_partly() {
        let tile = Tile::choose(H100, 1024, gru(64)).unwrap();
        assert_eq!(tile, Tile { thread_rows: 4, groups: 2, blocks: 128, resident: 16, shared: 48 * 1024 + 4096 });
        let tile = Tile::choose(H100, 4096, gru(256)).unwrap();
        assert_eq!((tile.thread_rows, tile.groups), (16, 1));
        assert!((1..64).contains(&tile.resident));
    }

    #[test]
    fn a_layer_that_does_not_fit_has_no_tile() {
        assert_eq!(Tile::choose(GpuLimits { shared_memory: 1024, ..H100 }, 8, gru(512)), None);
        assert_eq!(Tile::choose(H100, 8, gru(MAX_WIDTH + 16)), None);
    }
}
