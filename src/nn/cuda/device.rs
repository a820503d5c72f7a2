//! The kernels on a GPU.
#![allow(unsafe_code)]

use candle_core::cuda_backend::{CudaStorage, WrapErr, cudarc};
use candle_core::{CudaDevice, Result, Storage};
use cudarc::driver::sys::{CUdevice_attribute, CUfunction_attribute_enum, CUmemPool_attribute};
use cudarc::driver::{LaunchConfig, PushKernelArg, result};

use super::launch::{Kernels, Launch};
use super::tile::GpuLimits;

/// `sequence.cu`, compiled by `scripts/build-ptx`. The driver compiles it for the GPU at first use.
const PTX: &str = include_str!("sequence.ptx");

/// A GPU with its limits.
#[derive(Debug)]
pub(in crate::nn) struct Gpu {
    device: CudaDevice,
    limits: GpuLimits,
}

impl Gpu {
    /// Queries the limits of the GPU.
    pub(in crate::nn) fn new(device: &CudaDevice) -> Result<Self> {
        let stream = device.cuda_stream();
        let query = |attribute| stream.context().attribute(attribute).w().map(|value| value.max(0) as usize);
        let limits = GpuLimits {
            multiprocessors: query(CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)?.max(1),
            shared_memory: query(CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN)?,
        };
        keep_freed_memory(device)?;
        Ok(Self { device: device.clone(), limits })
    }
}

/// Lets the driver keep freed memory for later allocations, instead of releasing it at every synchronisation.
fn keep_freed_memory(device: &CudaDevice) -> Result<()> {
    let stream = device.cuda_stream();
    let mut threshold = u64::MAX;
    let release = CUmemPool_attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
    // SAFETY: the device is open, the driver owns its pool, and the attribute is a `u64` that is read during the call.
    unsafe {
        let pool = result::device::get_mem_pool(stream.context().cu_device()).w()?;
        result::mem_pool::set_attribute(pool, release, (&raw mut threshold).cast()).w()
    }
}

impl Kernels for Gpu {
    fn limits(&self) -> GpuLimits {
        self.limits
    }

    fn launch(&self, launch: &Launch<'_>) -> Result<Vec<Storage>> {
        let function = self.device.get_or_load_custom_func(&launch.kernel, "foretide-sequence", PTX)?;
        let shared = number(launch.tile.shared)?;
        let max_shared = CUfunction_attribute_enum::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
        function.set_attribute(max_shared, shared).w()?;

        let guards: Vec<_> =
            launch.inputs.iter().map(|input| input.map(candle_core::Tensor::storage_and_layout)).collect();
        let mut inputs = Vec::with_capacity(guards.len());
        for guard in &guards {
            inputs.push(match guard {
                None => None,
                Some((storage, layout)) => match (&**storage, layout.contiguous_offsets()) {
                    (Storage::Cuda(storage), Some((from, to))) => Some(storage.as_cuda_slice::<f32>()?.slice(from..to)),
                    _ => candle_core::bail!("{}: needs contiguous tensors on the GPU", launch.kernel),
                },
            });
        }
        let mut outputs = Vec::with_capacity(launch.outputs.len());
        for length in launch.outputs {
            // SAFETY: the kernel, next in the same stream, writes all values before anything reads them.
            outputs.push(unsafe { self.device.alloc::<f32>(*length)? });
        }
        let (null, sizes) = (0_u64, [launch.steps, launch.rows, launch.tile.resident]);
        let sizes = [number(sizes[0])?, number(sizes[1])?, number(sizes[2])?];

        let mut arguments = function.builder();
        for input in &inputs {
            match input {
                Some(input) => arguments.arg(input),
                None => arguments.arg(&null),
            };
        }
        for output in &mut outputs {
            arguments.arg(output);
        }
        for size in &sizes {
            arguments.arg(size);
        }
        let config = LaunchConfig {
            grid_dim: (number(launch.tile.blocks)? as u32, 1, 1),
            block_dim: (number(launch.width)? as u32, number(launch.tile.groups)? as u32, 1),
            shared_mem_bytes: shared as u32,
        };
        // SAFETY: `super::sequence` passes each kernel the arguments of its definition in `sequence.cu`, in their order
        // and with the lengths that it reads and writes (`emulation_tests` run the same launches); the shared memory is
        // as large as the tile needs, and the views keep the buffers alive until the launch is queued.
        unsafe { arguments.launch(config) }.w()?;
        drop(inputs);
        let wrap = |output| Storage::Cuda(CudaStorage::wrap_cuda_slice(output, self.device.clone()));
        Ok(outputs.into_iter().map(wrap).collect())
    }
}

/// A size as an `int` of the kernels.
fn number(size: usize) -> Result<i32> {
    i32::try_from(size).map_err(|_| candle_core::Error::Msg(format!("{size} is too large for a kernel")))
}
