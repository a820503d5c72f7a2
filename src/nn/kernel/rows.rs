//! Views of equally spaced rows in a buffer.

/// Rows in a buffer: row `r` begins at `offset + r * stride`.
#[derive(Debug, Clone, Copy)]
pub struct Rows<'a> {
    /// The buffer.
    pub data: &'a [f32],
    /// Values from the beginning of one row to that of the next.
    pub stride: usize,
    /// Where the first row begins.
    pub offset: usize,
}

impl Rows<'_> {
    /// No rows at all: for a panel that has no inputs from this place.
    pub const NONE: Rows<'static> = Rows { data: &[], stride: 0, offset: 0 };

    /// Asserts that `rows` rows of `width` values lie in the buffer. The raw pointers of the kernels rely on it.
    #[inline(always)]
    pub(super) fn assert_within(&self, rows: usize, width: usize) {
        let needed = if width == 0 || rows == 0 { 0 } else { self.offset + (rows - 1) * self.stride + width };
        assert!(needed <= self.data.len(), "kernel: {rows} rows of {width} need {needed} values");
    }

    /// Where a row begins.
    #[inline(always)]
    pub(super) fn at(&self, row: usize) -> *const f32 {
        self.data.as_ptr().wrapping_add(self.offset + row * self.stride)
    }
}

/// Rows in a mutable buffer: row `r` begins at `offset + r * stride`.
#[derive(Debug)]
pub struct RowsMut<'a> {
    /// The buffer.
    pub data: &'a mut [f32],
    /// Values from the beginning of one row to that of the next.
    pub stride: usize,
    /// Where the first row begins.
    pub offset: usize,
}

impl RowsMut<'_> {
    /// The same rows, to read.
    #[inline(always)]
    pub(super) fn as_rows(&self) -> Rows<'_> {
        Rows { data: self.data, stride: self.stride, offset: self.offset }
    }

    /// The first `width` values of a row.
    #[inline(always)]
    pub(super) fn row(&mut self, row: usize, width: usize) -> &mut [f32] {
        let from = self.offset + row * self.stride;
        &mut self.data[from..from + width]
    }
}
