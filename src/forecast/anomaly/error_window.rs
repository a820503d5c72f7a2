//! The mean of the newest errors.

use serde::{Deserialize, Serialize};

use crate::forecast::numeric::all_finite;
use crate::forecast::ring::next_index;
use crate::series::clone_in_place;

/// A ring of the newest forecast errors.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct ErrorWindow {
    errors: Vec<f32>,
    next: u16,
    full: bool,
}

clone_in_place!(ErrorWindow { errors, next, full });

impl ErrorWindow {
    pub fn new(length: usize) -> Self {
        Self { errors: vec![0.0; length], next: 0, full: false }
    }

    /// Replaces the oldest error.
    pub fn push(&mut self, error: f32) {
        self.errors[usize::from(self.next)] = error;
        self.next = next_index(self.next, self.errors.len());
        self.full |= self.next == 0;
    }

    /// The mean of all errors; `None` until the window is full.
    pub fn mean(&self) -> Option<f32> {
        self.full.then(|| self.errors.iter().sum::<f32>() / self.errors.len() as f32)
    }

    /// Errors that the window holds when it is full.
    pub fn len(&self) -> usize {
        self.errors.len()
    }

    /// Whether its index and its errors are valid; a snapshot comes from outside.
    pub fn is_sound(&self) -> bool {
        let length = self.errors.len();
        let index = if length == 0 { !self.full } else { usize::from(self.next) < length };
        index && all_finite(&self.errors)
    }

    pub fn heap_bytes(&self) -> usize {
        self.errors.capacity() * size_of::<f32>()
    }
}
