//! Opening a producer session, or going on with one.

use std::sync::Arc;

use weir_core::shard::{ChangeRequest, Session};
use weir_wire::error::{ErrorCode, Fault};
use weir_wire::id::Sequence;
use weir_wire::produce::{OpenProducer, ProducerOpened, ProducerSession};

use crate::fault::IntoFault;
use crate::producers::Producer;
use crate::sequence;
use crate::state::Shared;

/// Opens what the client asks for; a new session is durable when this returns.
pub(super) async fn open(
    shared: &Shared,
    request: &OpenProducer,
) -> Result<(Arc<Producer>, ProducerOpened), Fault> {
    let producer = match &request.session {
        Some(session) => resume(shared, request, session)?,
        None => create(shared, request).await?,
    };
    let unknown = || Fault::new(ErrorCode::UnknownTopic, "the topic was deleted meanwhile");
    let view = shared.topics.view(producer.topic).ok_or_else(unknown)?;
    let next_sequence: Sequence = producer.state.lock().done_before();
    let session = ProducerSession {
        id: producer.session.producer,
        epoch: producer.session.epoch,
    };
    let opened = ProducerOpened {
        session,
        next_sequence,
        topic: view.target.topic,
        partitions: view.target.partitions,
        placement_by_plugin: view.placement_by_plugin(),
        request_bytes_max: shared.request_bytes_max,
    };
    Ok((producer, opened))
}

fn resume(
    shared: &Shared,
    request: &OpenProducer,
    session: &ProducerSession,
) -> Result<Arc<Producer>, Fault> {
    let topic = shared
        .shard
        .read()
        .existing_topic(&request.topic)
        .map(|topic| topic.id);
    let topic = topic.map_err(IntoFault::into_fault)?;
    let session = Session {
        producer: session.id,
        epoch: session.epoch,
    };
    let producer = shared
        .producers
        .find(session)
        .filter(|producer| producer.topic == topic);
    producer.ok_or_else(|| {
        let text = format!(
            "the broker does not know producer {} of topic \"{}\" any more; open a new one",
            session.producer, request.topic
        );
        Fault::new(ErrorCode::UnknownProducer, text)
    })
}

async fn create(shared: &Shared, request: &OpenProducer) -> Result<Arc<Producer>, Fault> {
    let request = ChangeRequest::OpenProducer(request.topic.clone());
    let change = sequence::change(shared, request, None).await?;
    let opened = change
        .producer_opened
        .expect("that is the change that was asked for");
    let session = Session {
        producer: opened.id,
        epoch: opened.epoch,
    };
    let gone = || {
        Fault::new(
            ErrorCode::UnknownProducer,
            "the session is gone; open a new one",
        )
    };
    shared.producers.find(session).ok_or_else(gone)
}
