//! Checks of `[stream.model]`.

use super::super::stream::{Cell, InitialWeights, Strategy, Stream};
use super::super::values::Auto;
use super::checker::Checker;

/// Checks `[stream.model]`.
pub fn check(stream: &Stream, table: &mut Checker<'_>) {
    let model = &stream.model;
    table.range("layers", model.layers, 1..=8, "");
    table.range("hidden", model.hidden, 1..=1_024, "");
    table.range("burn_in", model.burn_in, 1..=4_096, "each series stores this many steps");
    table.range("context", model.context, 1..=512, "each series stores this many steps");
    table.range("window", model.window, 1..=128, "each series stores this many steps");
    table.range("segment", model.segment, 0..=64, "each series stores this many steps");
    table.range("chrono", model.chrono, 0..=100_000, "");
    table.range("linear_experts", model.linear_experts, 0..=3, "");
    if let (Auto::Set(InitialWeights::Builtin), Some(key)) = (model.weights, model.other_architecture()) {
        table.contradicts(
            true,
            &["weights", key],
            format!("weights = \"builtin\" without {key}"),
            key,
            "the builtin weights have an architecture of their own; weights = \"none\" trains another one from nothing",
        );
    }
    for (index, dilation) in model.dilations.iter().enumerate() {
        let hint = "each series stores this many states of the layer";
        table.expect_item((1..=64).contains(dilation), ("dilations", index), "1 to 64 steps", dilation, hint);
    }
    let (given, layers) = (model.dilations.len(), model.layers as usize);
    table.contradicts(
        given > 0 && given != layers,
        &["dilations", "layers"],
        format!("a dilation for each of the {layers} layers, or none"),
        given,
        "the first is for the lowest layer",
    );
    let is_recurrent = !matches!(model.cell, Cell::Feedforward | Cell::Tcn | Cell::Attention);
    table.contradicts(
        !is_recurrent && model.segment > 0,
        &["segment", "cell"],
        format!("segment = 0 with cell = \"{}\"", model.cell),
        model.segment,
        "segments need a recurrent cell",
    );
    table.contradicts(
        model.cell == Cell::Attention && !model.hidden.is_multiple_of(8),
        &["hidden", "cell"],
        "a multiple of 8 with cell = \"attention\"",
        model.hidden,
        "such as 64",
    );
    table.contradicts(
        model.strategy == Strategy::OneToMany && model.segment == 0,
        &["segment", "strategy"],
        "segment >= 1 with strategy = \"one_to_many\"",
        model.segment,
        "the strategy decodes the horizon segment by segment",
    );
    let has_one_output = matches!(model.strategy, Strategy::Recursive | Strategy::ManyToOne);
    table.contradicts(
        has_one_output && model.segment > 1,
        &["segment", "strategy"],
        format!("segment = 0 with strategy = \"{}\"", model.strategy),
        model.segment,
        "the network of this strategy has one output",
    );
    if let Some(threshold) = model.threshold {
        table.range("threshold", threshold, -1e100..=1e100, "in the unit of the values");
        table.contradicts(
            model.strategy != Strategy::ManyToOne,
            &["threshold", "strategy"],
            "no threshold, or strategy = \"many_to_one\"",
            threshold,
            "the probability of crossing it is that of one value",
        );
    }
    table.expect(
        has_one_output || model.segment == 0 || stream.horizon.is_multiple_of(model.segment),
        "segment",
        format!("0 or a divisor of horizon = {}", stream.horizon),
        model.segment,
        "the horizon is decoded segment by segment",
    );
}
