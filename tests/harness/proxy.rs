//! A TCP proxy between clients and a broker. Tests cut, pause and throttle its connections.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

/// Interval at which a paused connection checks whether it may continue.
const PAUSE_CHECK: Duration = Duration::from_millis(20);

/// A proxy on its own port. It ends with the process.
pub struct Proxy {
    /// Port that clients connect to.
    pub port: u16,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    paused: AtomicBool,
    /// Bytes per second of each connection; 0: no limit.
    rate: AtomicU32,
    open: Mutex<Vec<TcpStream>>,
}

impl Proxy {
    /// Listens on a free port, and forwards all data to the port `target` of this machine.
    pub fn start(target: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("it has an address").port();
        let shared = Arc::new(Shared::default());
        let own = Arc::clone(&shared);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                // Where the broker is down, dropping the client closes its connection.
                if let Ok(broker) = TcpStream::connect(("127.0.0.1", target)) {
                    own.join(client, broker);
                }
            }
        });
        Self { port, shared }
    }

    /// Closes all connections.
    pub fn cut(&self) {
        for stream in self.shared.streams().drain(..) {
            // The connection may be closed already.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Pauses or continues all connections. Paused connections stay open and forward nothing.
    pub fn pause(&self, paused: bool) {
        self.shared.paused.store(paused, Ordering::Relaxed);
    }

    /// Limits each direction of each connection to this rate; 0: no limit.
    pub fn slow(&self, bytes_per_second: u32) {
        self.shared.rate.store(bytes_per_second, Ordering::Relaxed);
    }
}

impl Shared {
    fn streams(&self) -> std::sync::MutexGuard<'_, Vec<TcpStream>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn join(self: &Arc<Self>, client: TcpStream, broker: TcpStream) {
        let copies = [client.try_clone(), broker.try_clone(), client.try_clone(), broker.try_clone()];
        let [Ok(from_client), Ok(to_broker), Ok(one), Ok(other)] = copies else { return };
        {
            let mut open = self.streams();
            // Forget connections that have ended.
            open.retain(|stream| stream.peer_addr().is_ok());
            open.extend([one, other]);
        }
        for (from, to) in [(from_client, to_broker), (broker, client)] {
            let shared = Arc::clone(self);
            std::thread::spawn(move || shared.pass(from, to));
        }
    }

    fn pass(&self, mut from: TcpStream, mut to: TcpStream) {
        // Forward small requests without delay.
        let _ = to.set_nodelay(true);
        let mut buffer = vec![0; 16 << 10];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            if let Some(rate) = std::num::NonZeroU32::new(self.rate.load(Ordering::Relaxed)) {
                std::thread::sleep(Duration::from_secs_f64(count as f64 / f64::from(rate.get())));
            }
            while self.paused.load(Ordering::Relaxed) {
                std::thread::sleep(PAUSE_CHECK);
            }
            if to.write_all(&buffer[..count]).is_err() {
                break;
            }
        }
        let _ = from.shutdown(Shutdown::Both);
        let _ = to.shutdown(Shutdown::Both);
    }
}
