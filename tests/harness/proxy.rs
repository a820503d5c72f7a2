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
    open: Mutex<Vec<Connection>>,
}

struct Connection {
    client: TcpStream,
    broker: TcpStream,
    detained: Arc<Detained>,
}

/// Which directions of a connection forward nothing.
#[derive(Default)]
struct Detained {
    requests: AtomicBool,
    responses: AtomicBool,
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
        for connection in self.shared.connections().drain(..) {
            // The connection may be closed already.
            let _ = connection.client.shutdown(Shutdown::Both);
            let _ = connection.broker.shutdown(Shutdown::Both);
        }
    }

    /// Pauses or continues all connections. Paused connections stay open and forward nothing.
    pub fn pause(&self, paused: bool) {
        self.shared.paused.store(paused, Ordering::Relaxed);
    }

    /// Keeps back the responses on the connections that are open.
    pub fn detain_responses(&self) {
        for connection in &*self.shared.connections() {
            connection.detained.responses.store(true, Ordering::Relaxed);
        }
    }

    /// Keeps back the requests on the connections that are open, until [`Proxy::deliver`].
    pub fn detain_requests(&self) {
        for connection in &*self.shared.connections() {
            connection.detained.requests.store(true, Ordering::Relaxed);
        }
    }

    /// Closes the clients' ends of all connections. Detained requests stay.
    pub fn cut_clients(&self) {
        for connection in &*self.shared.connections() {
            // The connection may be closed already.
            let _ = connection.client.shutdown(Shutdown::Write);
        }
    }

    /// Forwards everything that was detained, late.
    pub fn deliver(&self) {
        for connection in &*self.shared.connections() {
            connection.detained.requests.store(false, Ordering::Relaxed);
            connection.detained.responses.store(false, Ordering::Relaxed);
        }
    }

    /// Limits each direction of each connection to this rate; 0: no limit.
    pub fn slow(&self, bytes_per_second: u32) {
        self.shared.rate.store(bytes_per_second, Ordering::Relaxed);
    }
}

impl Shared {
    fn connections(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn join(self: &Arc<Self>, client: TcpStream, broker: TcpStream) {
        let copies = [client.try_clone(), broker.try_clone(), client.try_clone(), broker.try_clone()];
        let [Ok(from_client), Ok(to_broker), Ok(to_client), Ok(from_broker)] = copies else { return };
        let detained = Arc::new(Detained::default());
        {
            let mut open = self.connections();
            // Forget connections that have ended.
            open.retain(|connection| connection.broker.peer_addr().is_ok());
            open.push(Connection { client, broker, detained: Arc::clone(&detained) });
        }
        let (shared, directions) = (Arc::clone(self), Arc::clone(&detained));
        std::thread::spawn(move || shared.pass(from_client, to_broker, &directions.requests));
        let shared = Arc::clone(self);
        std::thread::spawn(move || shared.pass(from_broker, to_client, &detained.responses));
    }

    fn pass(&self, mut from: TcpStream, mut to: TcpStream, detained: &AtomicBool) {
        // Forward small requests without delay.
        let _ = to.set_nodelay(true);
        let mut buffer = vec![0; 16 << 10];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            if let Some(rate) = std::num::NonZeroU32::new(self.rate.load(Ordering::Relaxed)) {
                std::thread::sleep(Duration::from_secs_f64(count as f64 / f64::from(rate.get())));
            }
            while self.paused.load(Ordering::Relaxed) || detained.load(Ordering::Relaxed) {
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
