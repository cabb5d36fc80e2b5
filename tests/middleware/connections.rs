//! The connection after a rejection: the rest of a small body is read, so that the next request is found, or the
//! connection is closed. The rest of a large body is not read indefinitely.

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
        assert_eq!(reasons, [None, Some(Reason::SignatureMismatch), None, Some(Reason::Duplicate)], "{name}");
    }
}

/// The outcome of the request after a rejected one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Answered,
    Closed,
    /// Either of the two.
    Either,
}

/// hyper continues with the next request if the rejected body arrived together with the head, or so soon after it
/// that the same read finds it. actix-web closes the connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_rejection_by_the_head_the_next_request_is_answered_or_the_connection_closed() {
    use Next::{Answered, Closed, Either};
    for ((name, start), reads_on) in servers::ALL.iter().zip([true, true, false]) {
        let (route, watched) = Route::watched(receiver());
        let address = start(Arc::new([route]));
        let (together, soon) = if reads_on { (Answered, Either) } else { (Closed, Closed) };
        let rows = [(0, true, Answered), (1, true, together), (1, false, soon), (1_000, false, Closed)];
        for (n, (copies, at_once, expected)) in rows.into_iter().enumerate() {
            let rejected = unsigned(copies);
            let bytes = kept("/0", &rejected);
            let (head, rest) = bytes.split_at(bytes.len() - rejected.body.len());
            let next = genuine_of(&n.to_string());
            let mut connection = Connection::open(address).await;
            connection.send(if at_once { &bytes } else { head }).await;
            assert_eq!(status(&mut connection).await, Some(401), "{name}: {copies} {at_once}");
            if !at_once {
                connection.send(rest).await;
            }
            connection.send(&kept("/0", &next)).await;
            let answered = status(&mut connection).await;
            connection.finish().await;
            let seen = match answered {
                Some(200) => Answered,
                None => Closed,
                other => panic!("{name}: {copies} {at_once}: {other:?}"),
            };
            assert!([seen, Either].contains(&expected), "{name}: {copies} {at_once}: {seen:?}");
            assert_eq!(status(&mut connection).await, None, "{name}: {copies} {at_once}: one answer too many");
            // The next request must be answered if and only if it was handled, and no part of the rejected body
            // parsed as a request.
            let (bodies, reasons) = match seen {
                Answered => (vec![next.body], vec![Some(Reason::MissingHeader), None]),
                _ => (vec![], vec![Some(Reason::MissingHeader)]),
            };
            assert_eq!(watched.bodies(), bodies, "{name}: {copies} {at_once}");
            let answers = watched.answers();
            assert_eq!(answers.iter().map(|answer| answer.reason).collect::<Vec<_>>(), reasons, "{name}: {copies}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rest_of_a_rejected_body_is_not_read_indefinitely() {
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

/// Returns a delivery that is rejected by its head alone. Parsed as requests, its body would be this many genuine
/// deliveries.
fn unsigned(copies: usize) -> Outgoing {
    let mut outgoing = forged();
    outgoing.headers.retain(|(name, _)| !name.ends_with("signature"));
    outgoing.body = kept("/0", &genuine_of("smuggled")).repeat(copies).into();
    outgoing
}
