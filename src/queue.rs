//! A queue bounded by bytes: what waits between two ends never takes more memory than agreed.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore, TryAcquireError, mpsc};

/// What a queue can weigh. One item never waits for more room than the whole queue has.
pub trait Weight {
    fn weight(&self) -> usize;
}

/// The receiving end is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the receiving end of the queue is gone")]
pub struct Closed;

/// Why an item was not taken at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TrySendError {
    #[error("the queue holds as many bytes as it may")]
    Full,
    #[error("the receiving end of the queue is gone")]
    Closed,
}

struct Held<T> {
    item: T,
    _room: OwnedSemaphorePermit,
}

/// Room in a queue, taken for one item.
pub struct Room(OwnedSemaphorePermit);

/// The sending end.
pub struct Sender<T> {
    items: mpsc::UnboundedSender<Held<T>>,
    room: Arc<Semaphore>,
    limit: usize,
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Self { items: self.items.clone(), room: Arc::clone(&self.room), limit: self.limit }
    }
}

/// The receiving end. Dropping it closes the queue and wakes every waiting sender.
pub struct Receiver<T> {
    items: mpsc::UnboundedReceiver<Held<T>>,
    room: Arc<Semaphore>,
    limit: usize,
}

/// Makes a queue that holds at most `limit` bytes (and at most `limit` items).
pub fn bounded<T: Weight>(limit: usize) -> (Sender<T>, Receiver<T>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let room = Arc::new(Semaphore::new(limit));
    (
        Sender { items: sender, room: Arc::clone(&room), limit },
        Receiver { items: receiver, room, limit },
    )
}

impl<T: Weight> Sender<T> {
    fn permits(&self, item: &T) -> u32 {
        let weight = item.weight().clamp(1, self.limit);
        u32::try_from(weight).unwrap_or(u32::MAX)
    }

    /// Waits for room for this item, without taking it yet. Cancel-safe: nothing is lost when the
    /// call is dropped.
    pub fn room_for(&self, item: &T) -> impl Future<Output = Result<Room, Closed>> + Send + use<T> {
        let acquired = Arc::clone(&self.room).acquire_many_owned(self.permits(item));
        async { acquired.await.map(Room).map_err(|_: AcquireError| Closed) }
    }

    /// Queues the item in room that was waited for.
    pub fn send_into(&self, room: Room, item: T) -> Result<(), Closed> {
        self.items.send(Held { item, _room: room.0 }).map_err(|_| Closed)
    }

    /// Waits for room, then queues the item. A dropped call queues nothing and drops the item.
    pub async fn send(&self, item: T) -> Result<(), Closed> {
        let room = self.room_for(&item).await?;
        self.send_into(room, item)
    }

    /// Queues the item if there is room now.
    pub fn try_send(&self, item: T) -> Result<(), TrySendError> {
        self.offer(item).map_err(|(_, error)| error)
    }

    /// Queues the item if there is room now; else gives it back.
    pub fn offer(&self, item: T) -> Result<(), (T, TrySendError)> {
        match Arc::clone(&self.room).try_acquire_many_owned(self.permits(&item)) {
            Ok(room) => self
                .items
                .send(Held { item, _room: room })
                .map_err(|mpsc::error::SendError(held)| (held.item, TrySendError::Closed)),
            Err(TryAcquireError::Closed) => Err((item, TrySendError::Closed)),
            Err(TryAcquireError::NoPermits) => Err((item, TrySendError::Full)),
        }
    }

    /// Queues the last item, now or as soon as there is room, and lets go of the queue. Must be
    /// called within a runtime.
    pub fn send_last(self, item: T)
    where
        T: Send + 'static,
    {
        if let Err((item, TrySendError::Full)) = self.offer(item) {
            tokio::spawn(async move {
                // Nobody waits for it any more then.
                let _ = self.send(item).await;
            });
        }
    }

    /// Bytes that wait in it.
    pub fn held(&self) -> usize {
        self.limit.saturating_sub(self.room.available_permits())
    }

    /// Whether the receiving end is gone.
    pub fn is_closed(&self) -> bool {
        self.items.is_closed()
    }

    /// Resolves when the receiving end is gone.
    pub async fn closed(&self) {
        self.items.closed().await;
    }
}

impl<T> Receiver<T> {
    /// The next item, or `None` when every sender is gone. Cancel-safe.
    pub async fn recv(&mut self) -> Option<T> {
        self.items.recv().await.map(|held| held.item)
    }

    /// As [`Self::recv`], for those who wait on several queues at once.
    pub fn poll_recv(&mut self, context: &mut Context<'_>) -> Poll<Option<T>> {
        self.items.poll_recv(context).map(|held| held.map(|held| held.item))
    }

    /// Bytes that wait in it.
    pub fn held(&self) -> usize {
        self.limit.saturating_sub(self.room.available_permits())
    }

    /// The next item if one waits now.
    pub fn try_recv(&mut self) -> Option<T> {
        self.items.try_recv().ok().map(|held| held.item)
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.room.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Weight for Vec<u8> {
        fn weight(&self) -> usize {
            self.len()
        }
    }

    #[tokio::test]
    async fn holds_back_what_does_not_fit() {
        let (sender, mut receiver) = bounded(10);
        sender.try_send(vec![0; 6]).expect("six bytes fit");
        assert_eq!((sender.held(), receiver.held()), (6, 6));
        assert_eq!(sender.try_send(vec![0; 6]), Err(TrySendError::Full));
        assert_eq!(receiver.recv().await.map(|item| item.len()), Some(6));
        assert_eq!(sender.held(), 0);
        sender.try_send(vec![0; 6]).expect("room was given back");
    }

    #[tokio::test]
    async fn takes_one_item_larger_than_itself() {
        let (sender, mut receiver) = bounded(4);
        sender.send(vec![0; 100]).await.expect("an empty queue takes any one item");
        assert_eq!(sender.try_send(vec![0; 1]), Err(TrySendError::Full));
        assert_eq!(receiver.recv().await.map(|item| item.len()), Some(100));
    }

    #[tokio::test]
    async fn tells_senders_that_the_receiver_is_gone() {
        let (sender, receiver) = bounded(4);
        sender.try_send(vec![0; 4]).expect("fits");
        let waiting = tokio::spawn({
            let sender = sender.clone();
            async move { sender.send(vec![0; 4]).await }
        });
        tokio::task::yield_now().await;
        drop(receiver);
        assert_eq!(waiting.await.expect("the task ends"), Err(Closed));
    }
}
