//! `pinhole serve`: opens everything, listens and shuts down.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::allocator;
use anyhow::{Context, Result, ensure};
use axum::Router;
use axum::routing::get;
use pinhole::app::{self, App};
use pinhole::config::Config;
use pinhole::web;
use pinhole_ground::audit::RefusalKind;
use pinhole_ground::guard::HAS_SWITCHES;
use pinhole_ground::metrics::Metrics;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Files and connections that the process requests to have open at the same time.
const MAX_OPEN_FILES: u64 = 65_536;
/// How long requests may continue after the signal to shut down.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(10);

/// Runs the server until it receives Ctrl-C or SIGTERM.
pub(crate) async fn serve(config: &Config, listen: SocketAddr) -> Result<()> {
    allocator::return_large_blocks();
    // A job may have several connections open, and shells often allow a process 1024 files.
    rlimit::increase_nofile_limit(MAX_OPEN_FILES).ok();
    if HAS_SWITCHES {
        tracing::warn!(
            "built with guard switches for tests: security checks can be disabled; do not deploy this build"
        );
    }
    let metrics = match config.metrics {
        Some(_) => Some(Metrics::install(RefusalKind::ALL.map(RefusalKind::name))?),
        None => None,
    };
    // Held until the process ends.
    let _lock = app::lock_data_dir(config)?;
    let app = Arc::new(App::open(config).await?);
    let listener = TcpListener::bind(listen)
        .await
        .with_context(|| format!("cannot listen on {listen}: choose another with --listen"))?;
    let address = listener.local_addr()?;
    let metrics_listener = match config.metrics {
        Some(metrics_address) => Some(bind_metrics(metrics_address, address).await?),
        None => None,
    };
    let key = app
        .store
        .create_first_administrator()
        .await
        .context("cannot create the first administrator")?;
    warn_about_disk(&app)?;
    print_start(config, &app, address, key.as_deref())?;
    let mib = app.memory.max_bytes() >> 20;
    tracing::info!("requests and jobs may hold {mib} MiB of the memory of PINHOLE_MEMORY_MIB");
    if let (Some(metrics_listener), Some(metrics)) = (metrics_listener, metrics) {
        println!("metrics: http://{}/metrics", metrics_listener.local_addr()?);
        spawn_metrics(metrics_listener, metrics, app.clone());
    }
    warn_about_settings(&app);
    if !listen.ip().is_loopback() && app.accounts.is_first_sign_up_open().await? {
        tracing::warn!(
            "no account exists and sign-up is enabled: the first user to register becomes administrator; register now, or unset ENABLE_SIGNUP"
        );
    }
    tokio::spawn(app.clone().maintain());
    tokio::spawn(app.store.clone().index_texts());
    // Stops with the process. The next start repeats an interrupted sweep.
    tokio::spawn(app.files.clone().clean_up_hourly(config.file_retention));
    run(listener, app).await;
    Ok(())
}

/// Serves requests until the signal to shut down, then stops turns and jobs.
async fn run(listener: TcpListener, app: Arc<App>) {
    let shutdown = CancellationToken::new();
    let serving = web::serve(listener, app.clone(), shutdown.clone());
    let timeout = async {
        shutdown_signal().await;
        shutdown.cancel();
        // Clients do not close their event streams.
        tokio::time::sleep(SHUTDOWN_TIMEOUT).await;
    };
    tokio::select! {
        () = serving => {}
        () = timeout => {}
    }
    tokio::time::timeout(SHUTDOWN_TIMEOUT, app.tasks.shut_down())
        .await
        .ok();
    app.jobs.shut_down().await;
}

/// Listens for requests for metrics, on another port than the server's.
async fn bind_metrics(address: SocketAddr, server: SocketAddr) -> Result<TcpListener> {
    let remedy = "set PINHOLE_METRICS_LISTEN to another address and port";
    ensure!(
        address.port() != server.port(),
        "cannot serve metrics on {address}: the server itself listens on port {}; {remedy}",
        server.port()
    );
    TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot serve metrics on {address}: {remedy}"))
}

/// Serves metrics until the process stops.
fn spawn_metrics(listener: TcpListener, metrics: Metrics, app: Arc<App>) {
    let render = move || {
        let rendered = metrics.render(app.jobs.engines.load(), &app.memory);
        std::future::ready(rendered)
    };
    let router = Router::new().route("/metrics", get(render));
    tokio::spawn(async { axum::serve(listener, router).await });
}

/// Prints what a user or a script needs to know, one fact per line.
fn print_start(config: &Config, app: &App, address: SocketAddr, key: Option<&str>) -> Result<()> {
    let snapshot = app.jobs.snapshot();
    let engines: Vec<_> = snapshot.bindings().map(|it| it.name.as_str()).collect();
    let current = &snapshot.settings.engine;
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "pinhole {} listening on http://{address}",
        env!("CARGO_PKG_VERSION")
    )?;
    writeln!(out, "data directory: {}", config.data.display())?;
    writeln!(out, "engines: {} (current: {current})", engines.join(", "))?;
    match key {
        Some(key) => writeln!(out, "administrator key (shown once): {key}")?,
        None => writeln!(out, "administrator key: shown at the first start")?,
    }
    out.flush()?;
    Ok(())
}

/// Logs settings with which the server generates no images.
fn warn_about_settings(app: &App) {
    let snapshot = app.jobs.snapshot();
    let engine = &snapshot.settings.engine;
    if !snapshot.settings.enabled {
        tracing::warn!("image generation is disabled: ENABLE_IMAGE_GENERATION is not true");
    } else if snapshot.binding(engine).is_none() {
        tracing::warn!(
            "engine {engine} is not available: set IMAGE_GENERATION_ENGINE to another one, or see `pinhole engine list`"
        );
    }
}

/// Logs that nothing new can be stored.
fn warn_about_disk(app: &App) -> Result<()> {
    if app.files.require_disk(0).is_err() {
        let free_mib = app.files.free_bytes()? >> 20;
        tracing::warn!(
            "the disk of the data directory has {free_mib} MiB left, less than PINHOLE_RESERVED_DISK_MIB: \
             nothing new is stored until space is freed"
        );
    }
    Ok(())
}

/// Waits for Ctrl-C or SIGTERM.
pub(crate) async fn shutdown_signal() {
    let terminated = async {
        use tokio::signal::unix::{SignalKind, signal};
        match signal(SignalKind::terminate()) {
            Ok(mut signal) => signal.recv().await,
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminated => {}
    }
}
