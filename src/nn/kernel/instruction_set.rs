//! The instruction sets that the kernels are compiled for.

use std::sync::OnceLock;

/// An instruction set that this CPU supports. Only the constructors below make one, after they have checked the CPU;
/// the `unsafe` calls of [`super::dispatch`] rely on that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InstructionSet(pub(super) Kind);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
    /// Recurrent layers with weights and inputs in bfloat16; everything else runs as with AVX-512.
    #[cfg(target_arch = "x86_64")]
    Bf16,
}

impl InstructionSet {
    /// The fastest instruction set of this CPU, detected once.
    pub fn best() -> Self {
        static BEST: OnceLock<InstructionSet> = OnceLock::new();
        *BEST.get_or_init(|| Self::available().last().copied().unwrap_or(Self(Kind::Portable)))
    }

    /// All instruction sets of this CPU that give the same bits, the slowest first.
    pub fn available() -> Vec<Self> {
        let mut found = vec![Self(Kind::Portable)];
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                found.push(Self(Kind::Avx2));
            }
            if is_x86_feature_detected!("avx512f") {
                found.push(Self(Kind::Avx512));
            }
        }
        found
    }

    /// AVX-512 with bfloat16 in recurrent layers, where this CPU supports it: faster, with results that differ from
    /// those of [`available`](Self::available) (see `bf16`).
    pub fn bf16() -> Option<Self> {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bf16") {
            return Some(Self(Kind::Bf16));
        }
        None
    }

    /// The name, for logs.
    pub fn name(self) -> &'static str {
        match self.0 {
            Kind::Portable => "portable",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 => "avx512",
            #[cfg(target_arch = "x86_64")]
            Kind::Bf16 => "avx512bf16",
        }
    }
}
