//! The device that training computes on.

use std::fmt;
use std::str::FromStr;

use candle_core::Device;

/// The configured device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DeviceChoice {
    /// A GPU where this build supports it and this machine has one, otherwise the CPU.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// The GPU; an error where there is none.
    Cuda,
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Auto => "auto",
            Self::Cpu => "cpu",
            Self::Cuda => "cuda",
        })
    }
}

impl FromStr for DeviceChoice {
    type Err = DeviceError;

    fn from_str(name: &str) -> Result<Self, DeviceError> {
        [Self::Auto, Self::Cpu, Self::Cuda]
            .into_iter()
            .find(|choice| choice.to_string() == name)
            .ok_or_else(|| DeviceError::Unknown(name.to_owned()))
    }
}

/// A device that is not available.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeviceError {
    /// The name is unknown.
    #[error("unknown device \"{0}\": expected one of auto, cpu, cuda")]
    Unknown(String),
    /// This build cannot use a GPU.
    #[error(
        "device \"cuda\": this build has no CUDA; build with --features cuda, or set the device to \"auto\" or \"cpu\""
    )]
    NotBuilt,
    /// There is no usable GPU.
    #[error("device \"cuda\": no usable GPU ({0}); check the NVIDIA driver, or set the device to \"auto\" or \"cpu\"")]
    NoGpu(String),
}

/// Opens the configured device.
///
/// # Errors
/// Where `Cuda` is configured and this build or this machine has none; `Auto` and `Cpu` never fail.
pub fn open(choice: DeviceChoice) -> Result<Device, DeviceError> {
    match choice {
        DeviceChoice::Cpu => Ok(Device::Cpu),
        DeviceChoice::Auto => Ok(open_cuda().unwrap_or(Device::Cpu)),
        DeviceChoice::Cuda => open_cuda(),
    }
}

#[cfg(feature = "cuda")]
fn open_cuda() -> Result<Device, DeviceError> {
    // The driver's library is loaded at first use, which panics where it is missing.
    match std::panic::catch_unwind(|| Device::new_cuda_with_stream(0)) {
        Ok(Ok(device)) => Ok(device),
        Ok(Err(error)) => Err(DeviceError::NoGpu(error.to_string())),
        Err(_) => Err(DeviceError::NoGpu("the driver's library cannot be loaded".to_owned())),
    }
}

#[cfg(not(feature = "cuda"))]
fn open_cuda() -> Result<Device, DeviceError> {
    Err(DeviceError::NotBuilt)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_names_are_parsed_and_unknown_ones_rejected() {
        for choice in [DeviceChoice::Auto, DeviceChoice::Cpu, DeviceChoice::Cuda] {
            assert_eq!(choice.to_string().parse(), Ok(choice));
        }
        let error = "gpu".parse::<DeviceChoice>().unwrap_err();
        assert_eq!(error.to_string(), "unknown device \"gpu\": expected one of auto, cpu, cuda");
    }

    #[test]
    fn auto_falls_back_to_the_cpu_and_cuda_explains_why_it_is_missing() {
        assert!(open(DeviceChoice::Auto).is_ok());
        assert!(open(DeviceChoice::Cpu).unwrap().is_cpu());
        if let Err(error) = open(DeviceChoice::Cuda) {
            assert!(error.to_string().contains("set the device to \"auto\" or \"cpu\""), "{error}");
        }
        #[cfg(not(feature = "cuda"))]
        assert_eq!(open(DeviceChoice::Cuda).unwrap_err(), DeviceError::NotBuilt);
    }
}
