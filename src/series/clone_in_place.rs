//! Copies that reuse memory.

/// `Clone` whose `clone_from` keeps the memory of every field, which derived `Clone` does not. Each epoch makes an image
/// of every series that it touches: eleven allocations less for each (64 series: 1.91 to 1.61 us a step, together with
/// using an epoch's own memory again).
macro_rules! clone_in_place {
    ($type:ty { $($field:ident),+ $(,)? }) => {
        impl Clone for $type {
            fn clone(&self) -> Self {
                Self { $($field: self.$field.clone()),+ }
            }

            fn clone_from(&mut self, source: &Self) {
                $(self.$field.clone_from(&source.$field);)+
            }
        }
    };
}

pub(crate) use clone_in_place;
