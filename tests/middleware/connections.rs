//! What becomes of a connection after a refusal: what is left of a small body is read, so that the next request finds
//! its beginning, or the connection is closed; what is left of a large one is not read for ever.

use std::sync::Arc;
use std::time::Duration;

use medhook::Reason;
use medhook_tests::route::Route;
use medhook_tests::sender::{Connection, Outgoing, kept};

use crate::endpoint::{forged, genuine_of, receiver};
use crate::servers;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pipelined_requests_are_answered_in_their_order() {
    for (name, start) in servers::ALL {
        let (route, watched) = Route::watched(receiver());
        let address = start(Arc::new([route]));
        let requests = [genuine_of("1"), forged(), genuine_of("2"), genuine_of("1")];
        let bytes: Vec<u8> = requests.iter().flat_map(|request| kept("/0", request)).collect();
        let mut connection = Connection::open(address).await;
        connection.send(&bytes).await;
        let mut statuses = Vec::new();
        for _ in &requests {
            statuses.push(status(&mut connection).await);
        }
        assert_eq!(statuses, [200, 401, 200, 200].map(Some), "{name}");
        assert_eq!(watched.bodies(), [&requests[0].body, &requests[2].body], "{name}");
        let reasons: Vec<_> = watched.answers().iter().map(|answer| answer.reason).collect();
        assert_eq!(reasons, [None, Some(Reason::ProofMismatch), None, Some(Reason::Duplicate)], "{name}");
    }
}

/// With what came together with the head hyper reads on; actix-web does not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_refusal_by_the_head_the_next_request_is_answered_or_the_connection_closed() {
    for ((name, start), reads_on) in servers::ALL.iter().zip([true, true, false]) {
        let (route, watched) = Route::watched(receiver());
        let address = start(Arc::new([route]));
        for (n, (length, at_once, answered)) in
            [(0, true, true), (100, true, reads_on), (100, false, false), (1_000_000, false, false)].iter().enumerate()
        {
            let refused = kept("/0", &unsigned(*length));
            let (head, rest) = refused.split_at(refused.len() - length);
            let next = genuine_of(&n.to_string());
            let mut connection = Connection::open(address).await;
            connection.send(if *at_once { &refused } else { head }).await;
            assert_eq!(status(&mut connection).await, Some(401), "{name}: {length} {at_once}");
            if !at_once {
                connection.send(rest).await;
            }
            connection.send(&kept("/0", &next)).await;
            assert_eq!(status(&mut connection).await, answered.then_some(200), "{name}: {length} {at_once}");
            assert_eq!(watched.bodies(), answered.then_some(next.body).as_slice(), "{name}: {length} {at_once}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_refused_sender_goes_on_sending_is_not_read_for_ever() {
    let framings =
        [("content-length: 1000000000000", 413), ("content-length: 1000000", 401), ("transfer-encoding: chunked", 401)];
    let senders = servers::ALL.iter().flat_map(|(name, start)| {
        let (route, _) = Route::watched(receiver());
        let address = start(Arc::new([route]));
        framings.map(|(framing, expected)| async move {
            let mut connection = Connection::open(address).await;
            connection.send(format!("POST /0 HTTP/1.1\r\nhost: test\r\n{framing}\r\n\r\n").as_bytes()).await;
            assert_eq!(status(&mut connection).await, Some(expected), "{name}: {framing}");
            for _ in 0..6_000 {
                if !connection.send(b"1\r\n.\r\n").await {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            panic!("{name} still reads: {framing}");
        })
    });
    futures_util::future::join_all(senders).await;
}

async fn status(connection: &mut Connection) -> Option<u16> {
    connection.response().await.map(|response| response.status().as_u16())
}

/// Refused by its head alone.
fn unsigned(length: usize) -> Outgoing {
    let mut outgoing = forged();
    outgoing.headers.retain(|(name, _)| !name.ends_with("signature"));
    outgoing.body = vec![b' '; length].into();
    outgoing
}
