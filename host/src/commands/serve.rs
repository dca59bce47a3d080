//! `pinhole serve`: opens everything, listens, ends cleanly.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use axum::routing::get;
use pinhole::app::App;
use pinhole::config::Config;
use pinhole_ground::audit::RefusalKind;
use pinhole_ground::guard::HAS_SWITCHES;
use pinhole_ground::metrics::Metrics;
use pinhole::web;
use tokio::net::TcpListener;

/// Files and connections the process asks to have open at once.
const MAX_OPEN_FILES: u64 = 65_536;
/// How long requests may go on after the server was told to end.
const GRACE: Duration = Duration::from_secs(10);

pub(crate) async fn serve(config: &Config, listen: SocketAddr) -> Result<()> {
    // A job may hold several connections, and shells often allow a process 1024 files.
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
    let app = Arc::new(App::open(config).await?);
    let listener = TcpListener::bind(listen)
        .await
        .with_context(|| format!("cannot listen on {listen}: choose another with --listen"))?;
    let watched = match config.metrics {
        Some(address) => Some(watch(address, listener.local_addr()?).await?),
        None => None,
    };
    let key = app
        .store
        .first_administrator()
        .await
        .context("cannot make the first administrator")?;
    announce(config, &app, listener.local_addr()?, key.as_deref())?;
    if let (Some(watched), Some(metrics)) = (watched, metrics) {
        println!("metrics: http://{}/metrics", watched.local_addr()?);
        let app = app.clone();
        let text = move || std::future::ready(metrics.render(app.jobs.engines.load()));
        let router = axum::Router::new().route("/metrics", get(text));
        // Ends with the process.
        tokio::spawn(async { axum::serve(watched, router).await });
    }
    if !listen.ip().is_loopback() && app.accounts.awaits_first().await? {
        tracing::warn!(
            "whoever signs up first becomes an administrator: do it now, or unset ENABLE_SIGNUP"
        );
    }
    // Ends with the process: what is swept halfway is swept again.
    tokio::spawn(app.files.clone().keep_swept(config.file_retention));

    let (ending, ended) = tokio::sync::watch::channel(false);
    let ours = app.clone();
    // Attempts to sign in are counted by address.
    let router = web::router(app).into_make_service_with_connect_info::<SocketAddr>();
    let serving = axum::serve(listener, router).with_graceful_shutdown(async move {
        told_to_end().await;
        ending.send_replace(true);
    });
    // Open event streams never end by themselves.
    let patience = async {
        let mut ended = ended;
        ended.wait_for(|ended| *ended).await.ok();
        tokio::time::sleep(GRACE).await;
    };
    let served = tokio::select! {
        served = serving => served.context("the server failed"),
        () = patience => Ok(()),
    };
    tokio::time::timeout(GRACE, ours.tasks.end()).await.ok();
    ours.jobs.end().await;
    served
}

/// Listens for whoever asks for metrics: never where clients ask for pictures.
async fn watch(address: SocketAddr, own: SocketAddr) -> Result<TcpListener> {
    let refused = |why: &str| {
        format!(
            "cannot listen on {address} for metrics{why}: set PINHOLE_METRICS_LISTEN to another address and port"
        )
    };
    ensure!(
        address.port() != own.port(),
        refused(", because the server's own port is the same")
    );
    let listener = TcpListener::bind(address).await;
    listener.with_context(|| refused(""))
}

/// What a person, or a script, needs to know: one fact a line.
fn announce(config: &Config, app: &App, address: SocketAddr, key: Option<&str>) -> Result<()> {
    let now = app.jobs.current();
    let engines: Vec<_> = now.bindings().map(|it| it.name.as_str()).collect();
    let current = &now.settings.engine;
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "pinhole {} listening on http://{address}",
        env!("CARGO_PKG_VERSION")
    )?;
    writeln!(out, "data folder: {}", config.data.display())?;
    writeln!(out, "engines: {} (current: {current})", engines.join(", "))?;
    match key {
        Some(key) => writeln!(out, "administrator key (shown once): {key}")?,
        None => writeln!(out, "administrator key: shown at the first start")?,
    }
    out.flush()?;
    if !now.settings.enabled {
        tracing::warn!("ENABLE_IMAGE_GENERATION is not true: no pictures are made");
    } else if now.binding(current).is_none() {
        tracing::warn!(
            "engine {current} is not there: set IMAGE_GENERATION_ENGINE to another, or see `pinhole engine list`"
        );
    }
    Ok(())
}

/// Waits for Ctrl-C or SIGTERM.
pub(crate) async fn told_to_end() {
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
