//! `pinhole serve`: opens everything, listens and shuts down.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::{allocator, first_key, setup_url};
use anyhow::{Context, Result, ensure};
use axum::Router;
use axum::routing::get;
use pinhole::app::{self, App};
use pinhole::cluster;
use pinhole::config::{Config, ListenAddress};
use pinhole::control;
use pinhole::files;
use pinhole::jobs::Snapshot;
use pinhole::releases::EngineStart;
use pinhole::settings::Settings;
use pinhole::web;
use pinhole_ground::audit::RefusalKind;
use pinhole_ground::data_dir::DataLock;
use pinhole_ground::guard::HAS_SWITCHES;
use pinhole_ground::metrics::Metrics;
use tokio::net::{TcpListener, UnixListener};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

/// Files and connections that the process requests to have open at the same time.
const MAX_OPEN_FILES: u64 = 65_536;
/// How often the server looks whether calls run.
const IDLE_INTERVAL: Duration = Duration::from_secs(5);
/// How often the times of jobs are added to the metrics.
const METRICS_DRAIN_INTERVAL: Duration = Duration::from_secs(30);
/// How long the responses to stopped requests may take.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(3);
/// How long requests may continue after the signal to shut down.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(10);

/// Runs the server until it receives Ctrl-C or SIGTERM.
pub(crate) async fn serve(config: &Config, listen: &ListenAddress) -> Result<()> {
    allocator::return_large_blocks();
    // A job may have several connections open, and shells often allow a process 1024 files.
    rlimit::increase_nofile_limit(MAX_OPEN_FILES).ok();
    if HAS_SWITCHES {
        tracing::warn!(
            "built with guard switches for tests: security checks can be disabled; do not deploy this build"
        );
    }
    // Before anything is written. A terminal that closes must not end the server.
    let hangups = signal(SignalKind::hangup()).ok();
    let listener = listen.bind("choose another with --listen").await?;
    let address = listener.local_addr()?;
    let metrics_listener = match &config.metrics {
        Some(metrics_address) => Some(bind_metrics(metrics_address, address).await?),
        None => None,
    };
    let metrics = match config.metrics {
        Some(_) => Some(Metrics::install(RefusalKind::ALL.map(RefusalKind::name))?),
        None => None,
    };
    files::check_provider(&config.storage_provider).await?;
    if let Some(redis) = &config.redis {
        cluster::check(redis).await?;
    }
    // Held until the process ends.
    let lock = app::lock_data_dir(config)?;
    let (app, engine_start) = App::start(config).await?;
    let app = Arc::new(app);
    // From here on, a signal stops the server in order.
    let shutdown_requested = shutdown_signal();
    let key_line = first_key::create(&app, &config.data).await?;
    let setup_line = setup_url::show(&app, &config.data, address).await?;
    warn_about_disk(&app)?;
    let commands = listen_for_commands(config, &lock);
    print_start(config, &app, address, &[Some(key_line), setup_line])?;
    let mib = app.memory.max_bytes() >> 20;
    tracing::info!("requests and jobs may hold {mib} MiB of the memory of PINHOLE_MEMORY_MIB");
    if let (Some(metrics_listener), Some(metrics)) = (metrics_listener, metrics) {
        println!("metrics: http://{}/metrics", metrics_listener.local_addr()?);
        spawn_metrics(metrics_listener, metrics, app.clone());
    }
    if !address.ip().is_loopback() && app.accounts.is_first_sign_up_open().await? {
        tracing::warn!(
            "no account exists and sign-up is enabled: the first user to register becomes administrator; register now, or unset ENABLE_SIGNUP"
        );
    }
    tokio::spawn(app.clone().maintain());
    tokio::spawn(app.active_jobs.clone().clean_up_hourly());
    tokio::spawn(app.active_jobs.clone().extend_leases());
    tokio::spawn(app.clone().store_last_uses());
    tokio::spawn(app.clone().announce_engine_changes());
    tokio::spawn(app.clone().follow_hosts());
    tokio::spawn(app.clone().share_settings());
    tokio::spawn(reload_at_hangups(hangups, config.clone(), app.clone()));
    tokio::spawn(app.store.clone().index_texts());
    tokio::spawn(app.files.clone().watch_bucket());
    tokio::spawn(return_memory(app.clone()));
    // Stops with the process. The next start repeats an interrupted sweep.
    tokio::spawn(app.files.clone().clean_up_hourly(config.file_retention));
    let engines = add_engines(config.clone(), app.clone(), engine_start);
    let engines = AbortOnDropHandle::new(tokio::spawn(engines));
    let stopped = async {
        tokio::pin!(shutdown_requested);
        tokio::select! {
            () = &mut shutdown_requested => return Ok(()),
            added = engines => added??,
        }
        shutdown_requested.await;
        Ok(())
    };
    run(config, listener, commands, app, stopped).await
}

/// Returns the memory of calls to the system while none runs.
async fn return_memory(app: Arc<App>) {
    let mut unused = 0;
    loop {
        tokio::time::sleep(IDLE_INTERVAL).await;
        if app.jobs.snapshot().engines.load().used > 0 {
            continue;
        }
        let returned = tokio::task::spawn_blocking(move || allocator::return_unused_pages(unused));
        unused = returned.await.unwrap_or(unused);
    }
}

/// Compiles the remaining engines, then reports the engines and the problems of the settings.
async fn add_engines(config: Config, app: Arc<App>, start: EngineStart) -> Result<()> {
    let was_complete = app.jobs.snapshot().has_all_engines();
    app.add_engines(start).await?;
    warn_about_settings(&config, &app);
    tokio::spawn(app.releases.clone().follow_directory());
    tokio::spawn(app.releases.clone().watch());
    tokio::spawn(app.clone().take_jobs());
    if !was_complete {
        println!("{}", engines_line(&app.jobs.snapshot()));
    }
    Ok(())
}

/// Serves requests until the server is to stop. Then waits until jobs have ended, hands over or stops those that remain,
/// and sends their responses. Returns why it stopped.
async fn run(
    config: &Config,
    listener: TcpListener,
    commands: Option<UnixListener>,
    app: Arc<App>,
    stopped: impl Future<Output = Result<()>>,
) -> Result<()> {
    let shutdown = CancellationToken::new();
    if let Some(commands) = commands {
        tokio::spawn(web::serve_commands(commands, app.clone(), shutdown.clone()));
    }
    let mut reason = Ok(());
    let mut serving = std::pin::pin!(web::serve(listener, app.clone(), shutdown.clone()));
    let timeout = async {
        reason = stopped.await;
        drain(config, &app).await;
        app.active_jobs.start_shutdown();
        shutdown.cancel();
        // Clients do not close their event streams.
        tokio::time::sleep(SHUTDOWN_TIMEOUT).await;
    };
    let is_done = tokio::select! {
        () = &mut serving => true,
        () = timeout => false,
    };
    tokio::time::timeout(SHUTDOWN_TIMEOUT, app.tasks.shut_down())
        .await
        .ok();
    // Stopped requests still get a response.
    let responses = async {
        if !is_done {
            tokio::time::timeout(RESPONSE_TIMEOUT, serving).await.ok();
        }
    };
    tokio::join!(app.jobs.shut_down(), responses);
    let stored = app.active_jobs.wait_for_end();
    tokio::time::timeout(RESPONSE_TIMEOUT, stored).await.ok();
    app.store.store_last_uses().await;
    reason
}

/// Waits until the turns of chats and the active jobs have ended, at most as long as configured, or until another signal.
/// Hands over what can continue elsewhere.
async fn drain(config: &Config, app: &App) {
    let again = shutdown_signal();
    app.active_jobs.start_drain();
    let idle = async {
        // A turn may be about to start a job.
        app.tasks.wait_until_idle().await;
        app.active_jobs.wait_until_idle().await;
    };
    tokio::select! {
        () = idle => {}
        () = tokio::time::sleep(config.drain_time) => {}
        () = again => {}
    }
    app.active_jobs.hand_over().await;
}

/// Listens for commands of this machine. Without that, the server works.
fn listen_for_commands(config: &Config, lock: &DataLock) -> Option<UnixListener> {
    control::listen(&config.data, lock)
        .inspect_err(|error| {
            tracing::warn!(
                "`pinhole engine` cannot reach this server: {error:#}; use another data directory, or the HTTP API"
            );
        })
        .ok()
}

/// Reloads files and engines at each `SIGHUP`. Never returns.
async fn reload_at_hangups(mut hangups: Option<Signal>, config: Config, app: Arc<App>) {
    loop {
        received(&mut hangups).await;
        match app.reload(&config).await {
            Ok(()) => tracing::info!("reloaded the files of variables and the engine directory"),
            Err(error) => tracing::error!("cannot reload; the settings are as before: {error:#}"),
        }
    }
}

/// Listens for requests for metrics, on another port than the server's.
async fn bind_metrics(address: &ListenAddress, server: SocketAddr) -> Result<TcpListener> {
    let remedy = "set PINHOLE_METRICS_LISTEN to another address and port";
    ensure!(
        address.port != server.port(),
        "cannot serve metrics on {address}: the server itself listens on port {}; {remedy}",
        server.port()
    );
    let bound = address.bind(remedy).await;
    bound.context("cannot serve metrics")
}

/// Serves metrics until the process stops.
fn spawn_metrics(listener: TcpListener, metrics: Metrics, app: Arc<App>) {
    let drained = metrics.clone();
    tokio::spawn(async move {
        let mut interval = tokio::time::interval(METRICS_DRAIN_INTERVAL);
        loop {
            interval.tick().await;
            drained.drain();
        }
    });
    let render = move || {
        let load = app.jobs.snapshot().engines.load();
        let rendered = metrics.render(load, &app.memory);
        std::future::ready(rendered)
    };
    let router = Router::new().route("/metrics", get(render));
    tokio::spawn(async { axum::serve(listener, router).await });
}

/// Prints what a user or a script needs to know, one fact per line.
fn print_start(
    config: &Config,
    app: &App,
    address: SocketAddr,
    access_lines: &[Option<String>],
) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "pinhole {} listening on http://{address}",
        env!("CARGO_PKG_VERSION")
    )?;
    writeln!(out, "data directory: {}", config.data.display())?;
    writeln!(out, "{}", engines_line(&app.jobs.snapshot()))?;
    for line in access_lines.iter().flatten() {
        writeln!(out, "{line}")?;
    }
    out.flush()?;
    Ok(())
}

/// The engines, or the files that are being compiled.
fn engines_line(snapshot: &Snapshot) -> String {
    if !snapshot.has_all_engines() {
        let files = snapshot.engines.starting.iter();
        let files: Vec<_> = files.map(String::as_str).collect();
        return format!("engines: compiling {}", files.join(", "));
    }
    let names: Vec<_> = snapshot.bindings().map(|it| it.name.as_str()).collect();
    let Settings {
        engine,
        engine_reason,
        ..
    } = &snapshot.settings;
    let names = names.join(", ");
    format!("engines: {names} (current: {engine}, {engine_reason})")
}

/// Logs variables without an effect, and settings with which the server generates no images.
fn warn_about_settings(config: &Config, app: &App) {
    for warning in config.warnings(&app.jobs.snapshot().engines) {
        tracing::warn!("{warning}");
    }
    let snapshot = app.jobs.snapshot();
    if !snapshot.settings.enabled {
        tracing::warn!("image generation is disabled: ENABLE_IMAGE_GENERATION is not true");
    }
    for problem in snapshot.unknown_names() {
        tracing::warn!("{problem}");
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

/// Waits for Ctrl-C or SIGTERM, from this call on.
pub(crate) fn shutdown_signal() -> impl Future<Output = ()> {
    let mut signals = [SignalKind::interrupt(), SignalKind::terminate()].map(|it| signal(it).ok());
    async move {
        let [interrupt, terminate] = &mut signals;
        tokio::select! {
            () = received(interrupt) => {}
            () = received(terminate) => {}
        }
    }
}

/// Waits for a signal. Never returns if it cannot be received.
pub(super) async fn received(signal: &mut Option<Signal>) {
    let is_received = match signal {
        Some(signal) => signal.recv().await.is_some(),
        None => false,
    };
    if !is_received {
        std::future::pending::<()>().await;
    }
}
