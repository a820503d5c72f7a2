//! The page with simulated series and without a broker, for work on the page itself.
//!
//! `cargo run --example page -- 127.0.0.1:9464`

#[path = "../tests/page/feed.rs"]
mod feed;

use std::{sync::Arc, time::Duration};

use foretide::dashboard::http::{AppState, Condition, Health, ListenerSpec, serve};
use foretide::dashboard::state::DashboardState;
use foretide::env::{Clock, SystemClock};
use foretide::telemetry::Exposition;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let listen = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9464".to_owned());
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let dashboard = Arc::new(DashboardState::default());
    let health = Arc::new(Health::new(clock.clone()));
    let state = AppState {
        dashboard: dashboard.clone(),
        health: health.clone(),
        exposition: Exposition::install()?,
        clock: clock.clone(),
        title: "simulated, without a broker".into(),
    };
    let server = serve(ListenerSpec::plain(listen), state, async { drop(tokio::signal::ctrl_c().await) }).await?;
    println!("http://{}", server.address);
    std::thread::spawn(move || {
        let mut feed = feed::Feed::new(210, 3, clock.wall_millis() - 400_000);
        (0..400).for_each(|_| feed.step(&dashboard));
        health.set("shard-0", Condition::Ready);
        loop {
            std::thread::sleep(Duration::from_secs(1));
            feed.step(&dashboard);
        }
    });
    server.wait().await;
    Ok(())
}
