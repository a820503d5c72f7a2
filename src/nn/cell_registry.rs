//! The registry of cells: the one place that knows every implementation.

use super::cells::gru::{Gru, GruResetBefore};
use super::cells::minimal::{MinGru, MinLstm};
use super::cells::{attention::Attention, convolution::Convolution, elman::Elman, lstm::Lstm, slstm::Slstm};
use super::{cell::Cell, cell_kind::CellKind, recurrent::layer::RecurrentLayer};

/// The implementation of a kind of cell.
pub fn cell(kind: CellKind) -> &'static dyn Cell {
    match kind {
        CellKind::Elman => &RecurrentLayer(&Elman { relu: false }),
        CellKind::ElmanRelu => &RecurrentLayer(&Elman { relu: true }),
        CellKind::Lstm => &RecurrentLayer(&Lstm),
        CellKind::Gru => &RecurrentLayer(&Gru),
        CellKind::GruResetBefore => &RecurrentLayer(&GruResetBefore),
        CellKind::MinGru => &RecurrentLayer(&MinGru),
        CellKind::MinLstm => &RecurrentLayer(&MinLstm),
        CellKind::Slstm => &RecurrentLayer(&Slstm),
        CellKind::Feedforward | CellKind::Tcn => &Convolution,
        CellKind::Attention => &Attention,
    }
}
