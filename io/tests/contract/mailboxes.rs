//! The contract: mailboxes, on this machine's executor.

use super::*;

pub async fn mail_keeps_its_order<I: Io>(io: I, _dir: PathBuf) {
    let (sender, mut receiver) = mailbox::<(u32, u32)>(4);
    for who in 0..3 {
        let (task, sender) = (io.clone(), sender.clone());
        io.spawn(async move {
            for n in 0..100 {
                sender.send((who, n)).await.unwrap();
                if n % 7 == who {
                    task.yield_now().await;
                }
            }
        });
    }
    drop(sender);
    let mut next = [0; 3];
    while let Some((who, n)) = within(&io, "mail", receiver.recv()).await {
        assert_eq!(n, next[who as usize]);
        next[who as usize] += 1;
    }
    assert_eq!(next, [100; 3]);
}

pub async fn a_full_mailbox_holds_the_sender_back<I: Io>(io: I, _dir: PathBuf) {
    let (sender, mut receiver) = mailbox(2);
    assert_eq!((sender.try_send(1), sender.try_send(2), sender.try_send(3)), (Ok(()), Ok(()), Err(3)));
    let sent = Rc::new(Cell::new(false));
    let (flag, blocked) = (sent.clone(), sender.clone());
    io.spawn(async move {
        blocked.send(3).await.unwrap();
        flag.set(true);
    });
    io.yield_now().await;
    io.yield_now().await;
    assert!(!sent.get());
    assert_eq!(receiver.try_recv(), Some(1));
    within(&io, "room", async {
        while !sent.get() {
            io.yield_now().await;
        }
    })
    .await;
    assert_eq!((receiver.recv().await, receiver.recv().await), (Some(2), Some(3)));
    assert_eq!(receiver.try_recv(), None);
}

pub async fn a_mailbox_without_senders_ends<I: Io>(io: I, _dir: PathBuf) {
    let (sender, mut receiver) = mailbox(2);
    sender.try_send("last").unwrap();
    let other = sender.clone();
    drop(sender);
    let task = io.clone();
    io.spawn(async move {
        task.sleep(Duration::from_millis(5)).await;
        drop(other);
    });
    assert_eq!(receiver.recv().await, Some("last"));
    assert_eq!(within(&io, "the end", receiver.recv()).await, None);
}

pub async fn a_mailbox_without_receiver_hands_back<I: Io>(io: I, _dir: PathBuf) {
    let (sender, receiver) = mailbox(1);
    sender.try_send(1).unwrap();
    let returned = Rc::new(Cell::new(None));
    let (result, blocked) = (returned.clone(), sender.clone());
    io.spawn(async move { result.set(blocked.send(2).await.err()) });
    io.yield_now().await;
    assert_eq!(returned.get(), None);
    drop(receiver);
    within(&io, "the message back", async {
        while returned.get().is_none() {
            io.yield_now().await;
        }
    })
    .await;
    assert_eq!((returned.get(), sender.try_send(3), sender.send(4).await), (Some(2), Err(3), Err(4)));
}
