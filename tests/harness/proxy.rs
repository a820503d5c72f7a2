//! A TCP proxy between clients and a broker, whose connections can be cut, held up and slowed down.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

/// How often a held-up connection looks whether it may go on.
const LOOK: Duration = Duration::from_millis(20);

/// A proxy on a port of its own; it ends with the process.
pub struct Proxy {
    /// Where clients connect to.
    pub port: u16,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    held: AtomicBool,
    /// Bytes that each connection passes on in a second; 0: as many as come.
    pace: AtomicU32,
    open: Mutex<Vec<TcpStream>>,
}

impl Proxy {
    /// Listens on a free port, and passes everything on to `target` on this machine.
    pub fn start(target: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("it has an address").port();
        let shared = Arc::new(Shared::default());
        let own = Arc::clone(&shared);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                // Where the broker is down the client's connection is closed at once.
                if let Ok(broker) = TcpStream::connect(("127.0.0.1", target)) {
                    own.join(client, broker);
                }
            }
        });
        Self { port, shared }
    }

    /// Closes every connection.
    pub fn cut(&self) {
        for stream in self.shared.streams().drain(..) {
            // Closed already is just as well.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// While held, connections stay open and nothing passes.
    pub fn hold(&self, held: bool) {
        self.shared.held.store(held, Ordering::Relaxed);
    }

    /// From now on each connection passes so many bytes a second, either way; 0: as many as come.
    pub fn slow(&self, bytes_per_second: u32) {
        self.shared.pace.store(bytes_per_second, Ordering::Relaxed);
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
            // Those that have ended by themselves are of no use any more.
            open.retain(|stream| stream.peer_addr().is_ok());
            open.extend([one, other]);
        }
        for (from, to) in [(from_client, to_broker), (broker, client)] {
            let shared = Arc::clone(self);
            std::thread::spawn(move || shared.pass(from, to));
        }
    }

    fn pass(&self, mut from: TcpStream, mut to: TcpStream) {
        // Small requests wait for nothing.
        let _ = to.set_nodelay(true);
        let mut buffer = vec![0; 16 << 10];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            if let Some(pace) = std::num::NonZeroU32::new(self.pace.load(Ordering::Relaxed)) {
                std::thread::sleep(Duration::from_secs_f64(count as f64 / f64::from(pace.get())));
            }
            while self.held.load(Ordering::Relaxed) {
                std::thread::sleep(LOOK);
            }
            if to.write_all(&buffer[..count]).is_err() {
                break;
            }
        }
        let _ = from.shutdown(Shutdown::Both);
        let _ = to.shutdown(Shutdown::Both);
    }
}
