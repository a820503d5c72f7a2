//! How a layer's rows are cut into blocks of a card.
//!
//! A block should have so many rows that all blocks run at once: more would leave multiprocessors idle, fewer would read
//! the weights more often. Within a block, a thread with more rows reads each weight for more of them at once, which
//! is what the shared memory's speed asks for; but a multiprocessor wants a warp for each of its four schedulers.

use crate::nn::kernel::LANES;

/// Rows of a thread and the most threads of a block, as `sequence.cu` has kernels, the best first.
const SIZES: [(usize, usize); 4] = [(16, 256), (8, 256), (4, 512), (2, 512)];

/// One warp for each of a multiprocessor's schedulers.
const BUSY_THREADS: usize = 128;

/// The kernels take quads of weights by so many; all there are of them is a multiple of it, since units are padded.
const QUADS_TOGETHER: usize = 4;

/// The most units of a layer, padded, that there are kernels for. A wider layer's matrix products fill a card by
/// themselves.
pub(super) const WIDEST: usize = 512;

/// What a card can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::nn) struct Card {
    /// Its multiprocessors.
    pub(in crate::nn) multiprocessors: usize,
    /// Bytes of shared memory that one block may have.
    pub(in crate::nn) shared: usize,
}

/// What a kernel keeps in shared memory.
#[derive(Debug, Clone, Copy)]
pub(super) struct Needs {
    /// Units of the layer, padded.
    pub(super) width: usize,
    /// Bytes for each row of the tile.
    pub(super) row: usize,
    /// Bytes for four inputs of all chains of weights.
    pub(super) quad: usize,
    /// All quads of inputs.
    pub(super) quads: usize,
}

/// How a kernel is launched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tile {
    /// Rows of a thread.
    pub(super) thread_rows: usize,
    /// Threads of a unit.
    pub(super) groups: usize,
    /// Blocks.
    pub(super) blocks: usize,
    /// Quads of weights that stay in shared memory.
    pub(super) resident: usize,
    /// Bytes of shared memory of a block.
    pub(super) shared: usize,
}

impl Tile {
    /// Cuts rows into tiles; none where the card has too little shared memory or the layer is too wide.
    pub(super) fn choose(card: Card, rows: usize, needs: Needs) -> Option<Self> {
        debug_assert_eq!(needs.width % LANES, 0);
        let wanted = rows.div_ceil(card.multiprocessors);
        SIZES.into_iter().find_map(|(thread_rows, threads)| {
            let smallest = thread_rows == SIZES[SIZES.len() - 1].0;
            let fitting = (card.shared / (needs.row * thread_rows)).min(threads / needs.width);
            let groups = wanted.div_ceil(thread_rows).min(fitting);
            let good = thread_rows <= wanted.next_power_of_two() && groups * needs.width >= BUSY_THREADS;
            if groups == 0 || !(good || smallest) {
                return None;
            }
            let tile = thread_rows * groups;
            let resident = ((card.shared - tile * needs.row) / needs.quad).min(needs.quads);
            let resident = resident - resident % QUADS_TOGETHER;
            let shared = tile * needs.row + resident * needs.quad;
            Some(Self { thread_rows, groups, blocks: rows.div_ceil(tile), resident, shared })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const H100: Card = Card { multiprocessors: 132, shared: 227 * 1024 };

    /// The forward pass of a GRU.
    fn gru(width: usize) -> Needs {
        Needs { width, row: 2 * width * 4, quad: 3 * width * 16, quads: width / 4 }
    }

    #[test]
    fn blocks_run_all_at_once_where_they_can() {
        for width in [16, 64, 128, 144, 256] {
            for rows in [1, 7, 132, 256, 1024] {
                let tile = Tile::choose(H100, rows, gru(width)).unwrap();
                assert!(tile.blocks <= H100.multiprocessors, "{width} {rows}: {tile:?}");
                assert!(tile.blocks * tile.thread_rows * tile.groups >= rows);
            }
        }
    }

    #[test]
    fn a_block_keeps_to_its_threads_and_its_shared_memory() {
        for shared in [16 * 1024, 48 * 1024, 99 * 1024, H100.shared] {
            for width in (16..=WIDEST).step_by(16) {
                for rows in [1, 300, 100_000] {
                    let tile = Tile::choose(Card { shared, ..H100 }, rows, gru(width)).unwrap();
                    let (_, threads) = SIZES.into_iter().find(|(rows, _)| *rows == tile.thread_rows).unwrap();
                    assert_eq!(tile.resident % QUADS_TOGETHER, 0);
                    assert!(tile.shared <= shared && tile.groups * width <= threads, "{width} {rows}: {tile:?}");
                }
            }
        }
    }

    #[test]
    fn small_weights_are_resident_and_large_ones_in_part() {
        let tile = Tile::choose(H100, 1024, gru(64)).unwrap();
        assert_eq!(tile, Tile { thread_rows: 4, groups: 2, blocks: 128, resident: 16, shared: 48 * 1024 + 4096 });
        let tile = Tile::choose(H100, 4096, gru(256)).unwrap();
        assert_eq!((tile.thread_rows, tile.groups), (16, 1));
        assert!((1..64).contains(&tile.resident));
    }

    #[test]
    fn what_fits_nowhere_has_no_tile() {
        assert_eq!(Tile::choose(Card { shared: 1024, ..H100 }, 8, gru(512)), None);
        assert_eq!(Tile::choose(H100, 8, gru(WIDEST + 16)), None);
    }
}
