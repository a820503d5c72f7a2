//! The history of one series as training reads it.

/// The steps of one series in order.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Lane {
    /// Features `[steps, inputs]`.
    pub features: Vec<f32>,
    /// Targets `[steps, horizon]`: `(x_{t+h} - x_t) / scale_t`, NaN where nothing was observed or is known yet.
    pub targets: Vec<f32>,
    /// The steps, in order, before which the state is reset; the first step of a lane is one, listed or not.
    pub starts: Vec<usize>,
}
