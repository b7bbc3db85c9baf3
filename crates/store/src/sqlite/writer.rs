//! The one thread that writes. It commits in groups: every caller waits for one fsync, and one fsync serves many callers.

use std::cell::Cell;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode};
use tokio::sync::{SetOnce, oneshot};

use super::data_dir::DataDir;
use super::inbox::{Group, Inbox};
use super::leases::Leases;
use super::room::Room;
use super::{history, schema};
use crate::{Lease, Run, StoreError};

/// Pages in the write-ahead log after which it is copied into the database. Between two commits, so that no caller
/// waits for it; and soon, so that the log does not take the last room on a small disk.
const PAGES_PER_CHECKPOINT: i32 = 512;
/// Bytes of a page in the database, and in the log.
const PAGE: u64 = 4096;
const FRAME: u64 = PAGE + 24;

thread_local! {
    /// Pages in the log after the last commit of this thread, which has one connection that writes. SQLite tells them to a
    /// function that can hold no state.
    static LOG_PAGES: Cell<i32> = const { Cell::new(0) };
}

/// Why a job, or a whole transaction, did not happen.
#[derive(Debug, Clone)]
pub(super) enum Failure {
    /// No space left.
    Full,
    /// The disk failed, or what is on it is not what was written; in a sentence. Nobody can say what is on it: after a failed fsync the kernel
    /// may have dropped the data and would report the next one as good. So nothing is tried again.
    Broken(String),
    /// The history is not what was written: what is wrong with it.
    History(String),
    /// This job alone is refused.
    Refused(StoreError),
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Refused(error)
    }
}

impl Failure {
    /// Of a statement that touches nothing but the history.
    pub fn of_history(error: rusqlite::Error) -> Self {
        if schema::is_damage(&error) {
            return Self::History(error.to_string());
        }
        error.into()
    }

    /// The database contradicts itself.
    pub fn damage(found: impl std::fmt::Display) -> Self {
        Self::Broken(format!(
            "the database is damaged ({found}) and nothing more is written: check the disk, then restart hikigane, which tries to mend it"
        ))
    }
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error() {
            Some(_) if schema::is_full(&error) => Self::Full,
            Some(cause) if cause.code == ErrorCode::SystemIoFailure => Self::Broken(format!(
                "the disk failed ({error}) and nothing more is written: check the disk, then restart hikigane; everything acknowledged before is kept"
            )),
            Some(_) if schema::is_damage(&error) => Self::damage(error),
            _ => Self::Refused(StoreError::Failed(error.to_string())),
        }
    }
}

/// What a job works on.
pub(super) struct Tx<'a> {
    pub sql: &'a Connection,
    /// To be changed last in a job: the database forgets what a failed job did, the leases do not.
    pub leases: &'a mut Leases,
    files: &'a DataDir,
    /// What the disk has left, once somebody has asked.
    room: Option<Room>,
    /// Runs that were not recorded.
    dropped: u64,
}

impl Tx<'_> {
    /// Puts runs into the history, which gives way when room is short.
    pub fn record<'r>(&mut self, runs: impl IntoIterator<Item = &'r Run>) -> Result<(), Failure> {
        let sql = self.sql;
        let mut runs = runs.into_iter().peekable();
        if runs.peek().is_none() {
            return Ok(());
        }
        let room = self.room()?;
        let mut dropped = 0;
        let fits = |run: &&Run| {
            let fits = room.take_for_run(history::weight(run));
            dropped += u64::from(!fits);
            fits
        };
        history::insert(sql, runs.filter(fits)).map_err(Failure::of_history)?;
        self.dropped += dropped;
        Ok(())
    }

    /// What the disk has left. Only what adds something asks, and the system is asked once.
    pub fn room(&mut self) -> rusqlite::Result<&mut Room> {
        let room = match self.room.take() {
            Some(room) => room,
            None => self.look_for_room()?,
        };
        Ok(self.room.insert(room))
    }

    /// What the disk has left, and the files: in the log behind its last page, and in the database on its free pages. The pages at its end that are
    /// only in the log yet will need room.
    fn look_for_room(&self) -> rusqlite::Result<Room> {
        let pragma = |name: &str| {
            let pages: i64 = self.sql.prepare_cached(name)?.query_row([], |row| row.get(0))?;
            Ok::<_, rusqlite::Error>(pages.unsigned_abs() * PAGE)
        };
        let length = |path: &Path| std::fs::metadata(path).map_or(0, |found| found.len());
        let in_use = u64::try_from(LOG_PAGES.get()).unwrap_or(0) * FRAME;
        let DataDir { database, log, .. } = self.files;
        let to_come = pragma("PRAGMA page_count")?.saturating_sub(length(database));
        let (in_log, in_database) = (length(log).saturating_sub(in_use), pragma("PRAGMA freelist_count")?);
        Ok(Room::at(database, to_come, in_log, in_database))
    }
}

/// Something to do in a transaction, with a caller who waits for it.
pub(super) trait Job: Send {
    /// Does it. It may be done again when the transaction of the first time was rolled back.
    fn run(&mut self, tx: &mut Tx<'_>) -> Result<(), Failure>;
    /// Tells the caller, once, after the transaction is on disk or has failed.
    fn answer(self: Box<Self>, transaction: Result<(), StoreError>, leases: &mut Leases);
}

/// A job made of a function.
pub(super) struct Work<F, T> {
    work: F,
    result: Result<T, StoreError>,
    reply: oneshot::Sender<Result<T, StoreError>>,
}

impl<F, T> Work<F, T>
where
    F: FnMut(&mut Tx<'_>) -> Result<T, Failure> + Send + 'static,
    T: Answer,
{
    /// The job, and where its answer comes.
    pub fn job(work: F) -> (Box<dyn Job>, oneshot::Receiver<Result<T, StoreError>>) {
        let (reply, answer) = oneshot::channel();
        (
            Box::new(Self {
                work,
                result: Err(ended()),
                reply,
            }),
            answer,
        )
    }
}

/// What callers hear whose job was left behind.
pub(super) fn ended() -> StoreError {
    StoreError::Failed("the store is closed".into())
}

impl<F, T> Job for Work<F, T>
where
    F: FnMut(&mut Tx<'_>) -> Result<T, Failure> + Send,
    T: Answer,
{
    fn run(&mut self, tx: &mut Tx<'_>) -> Result<(), Failure> {
        match (self.work)(tx) {
            Ok(value) => self.result = Ok(value),
            Err(Failure::Refused(error)) => {
                self.result = Err(error.clone());
                return Err(Failure::Refused(error));
            }
            Err(failure) => return Err(failure),
        }
        Ok(())
    }

    fn answer(self: Box<Self>, transaction: Result<(), StoreError>, leases: &mut Leases) {
        if let Err(Ok(unheard)) = self.reply.send(transaction.and(self.result)) {
            unheard.take_back(leases);
        }
    }
}

/// What a job answers.
pub(super) trait Answer: Send + 'static {
    /// The caller went away before the answer came.
    fn take_back(self, _leases: &mut Leases)
    where
        Self: Sized,
    {
    }
}

impl Answer for () {}
impl Answer for u64 {}
impl Answer for String {}
impl<T: Send + 'static> Answer for Option<T> {}
impl Answer for Vec<Lease> {
    fn take_back(self, leases: &mut Leases) {
        for lease in self {
            leases.end(lease.id);
        }
        leases.commit();
    }
}

/// What the writer tells everybody.
pub(super) struct Status {
    /// Runs that were not recorded.
    pub dropped: AtomicU64,
    /// Transactions that are on disk.
    pub commits: AtomicU64,
    /// Why nothing is written any more.
    pub broken: SetOnce<String>,
    /// Hears what was wrong and could be mended.
    warn: Box<dyn Fn(&str) + Send + Sync>,
}

impl Status {
    pub fn new(warn: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self {
            dropped: AtomicU64::default(),
            commits: AtomicU64::default(),
            broken: SetOnce::new(),
            warn: Box::new(warn),
        }
    }

    /// Says what was wrong and could be mended.
    pub fn warn(&self, what: &str) {
        (self.warn)(what);
    }

    /// Ends the writing.
    pub fn break_down(&self, cause: &str) {
        // The first cause is the one to tell; it brings about others.
        let _ = self.broken.set(cause.to_owned());
    }
}

/// The thread's state.
pub(super) struct Writer {
    connection: Connection,
    leases: Leases,
    inbox: Arc<Inbox>,
    status: Arc<Status>,
    /// Pages in the log that call for the next checkpoint.
    checkpoint_at: i32,
    /// Something found no room on the disk: what the log holds is to make some.
    is_short: bool,
    // In this order: the lock is given up after the connection is closed, and then the end is made known; also when the
    // thread panics, or never starts.
    directory: DataDir,
    _end: EndOnDrop,
}

impl Writer {
    pub fn new(
        connection: Connection,
        leases: Leases,
        inbox: Arc<Inbox>,
        status: Arc<Status>,
        directory: DataDir,
    ) -> Self {
        let _end = EndOnDrop(inbox.clone());
        Self {
            connection,
            leases,
            inbox,
            status,
            checkpoint_at: PAGES_PER_CHECKPOINT,
            is_short: false,
            directory,
            _end,
        }
    }

    /// Works until the inbox is closed and empty.
    pub fn run(mut self) {
        self.connection.wal_hook(Some(|_, pages| {
            LOG_PAGES.set(pages);
            Ok(())
        }));
        while let Some(group) = self.inbox.take() {
            self.write(group);
            let pages = LOG_PAGES.get();
            if pages >= self.checkpoint_at || self.is_short && pages > 0 {
                self.checkpoint("PASSIVE");
            }
        }
        if self.status.broken.get().is_none() {
            self.checkpoint("TRUNCATE");
        } else {
            // Closing must not touch what the failed disk holds; the next start recovers from the log.
            let _ = self
                .connection
                .set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
        }
    }

    fn write(&mut self, group: Group) {
        let Group { mut jobs, runs } = group;
        match self.transact(&mut jobs, &runs) {
            // Make room in the log, do not let the history stand in the way, and let pass what needs no space.
            Err(Failure::Full) => {
                self.drop_runs(&runs);
                self.checkpoint("PASSIVE");
                for job in jobs {
                    let mut alone = [job];
                    let outcome = self.transact(&mut alone, &[]);
                    self.answer(alone, outcome);
                }
            }
            outcome => {
                if outcome.is_err() {
                    self.drop_runs(&runs);
                }
                self.answer(jobs, outcome);
            }
        }
    }

    fn drop_runs(&self, runs: &[Run]) {
        self.status.dropped.fetch_add(runs.len() as u64, Ordering::Relaxed);
    }

    fn answer(&mut self, jobs: impl IntoIterator<Item = Box<dyn Job>>, outcome: Result<(), Failure>) {
        let outcome = outcome.map_err(|failure| match failure {
            Failure::Full => StoreError::Full,
            Failure::Broken(text) | Failure::History(text) => StoreError::Failed(text),
            Failure::Refused(error) => error,
        });
        for job in jobs {
            job.answer(outcome.clone(), &mut self.leases);
        }
    }

    /// Does all of it in one transaction, or nothing. A job that is refused has no effect and does not hinder the others; a history that is
    /// damaged makes way.
    fn transact(&mut self, jobs: &mut [Box<dyn Job>], runs: &[Run]) -> Result<(), Failure> {
        let found = match self.transact_once(jobs, runs) {
            Err(Failure::History(found)) => found,
            done => return done,
        };
        let (job, mut aside) = Work::job(|tx: &mut Tx<'_>| Ok(history::set_aside(tx.sql)?));
        let mut alone = [job];
        let done = self.transact_once(&mut alone, &[]);
        self.answer(alone, done.clone());
        done?;
        if let Ok(Ok(aside)) = aside.try_recv() {
            self.status.warn(&format!(
                "the history of runs was damaged ({found}) and begins anew; {} has what is left of it as its table {aside}",
                self.directory.database.display()
            ));
        }
        match self.transact_once(jobs, runs) {
            // It was not the history.
            Err(Failure::History(found)) => {
                let failure = Failure::damage(found);
                if let Failure::Broken(text) = &failure {
                    self.status.break_down(text);
                }
                Err(failure)
            }
            done => done,
        }
    }

    fn transact_once(&mut self, jobs: &mut [Box<dyn Job>], runs: &[Run]) -> Result<(), Failure> {
        if let Some(cause) = self.status.broken.get() {
            return Err(Failure::Broken(cause.clone()));
        }
        let done = self.attempt(jobs, runs);
        match &done {
            Ok(dropped) => {
                self.leases.commit();
                self.status.dropped.fetch_add(*dropped, Ordering::Relaxed);
            }
            Err(failure) => {
                self.leases.roll_back();
                if !self.connection.is_autocommit() {
                    // A rollback that fails leaves the transaction open; the next `BEGIN` then says so.
                    let _ = self.connection.execute_batch("ROLLBACK");
                }
                if let Failure::Broken(text) = failure {
                    self.status.break_down(text);
                }
            }
        }
        done.map(drop)
    }

    /// Returns how many runs were dropped.
    fn attempt(&mut self, jobs: &mut [Box<dyn Job>], runs: &[Run]) -> Result<u64, Failure> {
        let sql = &self.connection;
        let execute = |statement: &str| sql.prepare_cached(statement)?.execute([]).map_err(Failure::from);
        let before = sql.total_changes();
        execute("BEGIN IMMEDIATE")?;
        let mut tx = Tx {
            sql,
            leases: &mut self.leases,
            files: &self.directory,
            room: None,
            dropped: 0,
        };
        for job in jobs {
            execute("SAVEPOINT job")?;
            match job.run(&mut tx) {
                Ok(()) => {}
                // SQLite undoes the whole transaction by itself after some errors.
                Err(Failure::Refused(_)) if !sql.is_autocommit() => drop(execute("ROLLBACK TO job")?),
                Err(failure) => return Err(failure),
            }
            execute("RELEASE job")?;
        }
        tx.record(runs)?;
        let dropped = tx.dropped;
        self.is_short = tx.room.is_some_and(|room| room.is_short);
        execute("COMMIT")?;
        if sql.total_changes() == before {
            return Ok(dropped);
        }
        self.status.commits.fetch_add(1, Ordering::Relaxed);
        if !self.directory.is_in_place() {
            return Err(Failure::Broken(format!(
                "the database {} was removed or replaced and nothing more is written: restart hikigane",
                self.directory.database.display()
            )));
        }
        Ok(dropped)
    }

    /// Copies the log into the database; the next commit then begins it anew. While a reader still needs the log, that is
    /// incomplete: then again after some more pages. While there is no space, again after every commit, so that the first
    /// space that returns goes there.
    fn checkpoint(&mut self, mode: &str) {
        let done = self
            .connection
            .query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |row| {
                Ok((row.get::<_, i32>(1)?, row.get::<_, i32>(2)?))
            });
        self.checkpoint_at = match done {
            Ok((in_log, copied)) if in_log == copied => {
                LOG_PAGES.set(0);
                PAGES_PER_CHECKPOINT
            }
            Ok(_) => LOG_PAGES.get() + PAGES_PER_CHECKPOINT,
            Err(_) => 0,
        };
        if let Err(Failure::Broken(text)) = done.map_err(Failure::from) {
            self.status.break_down(&text);
        }
    }
}

/// Tells those who wait that nothing more will be done.
struct EndOnDrop(Arc<Inbox>);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        self.0.end();
    }
}
