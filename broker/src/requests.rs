//! Control requests: one frame in, one frame out.

mod bindings;
mod logs;
mod plugins;
mod status;
mod topics;

use std::sync::Arc;

use bytes::Bytes;
use weir_wire::error::{ErrorCode, Fault};
use weir_wire::frame::{FrameMessage, Kind};

use crate::budget::Held;
use crate::fault::IntoFault;
use crate::frames::{Payload, Received};
use crate::state::Shared;

pub(crate) use bindings::{binding_info, binding_state, counters};
pub(crate) use status::{at_most, status};

/// A request's answer.
pub(crate) struct Reply {
    /// The frame but for its payload.
    pub(crate) frame: Vec<u8>,
    pub(crate) payload: Bytes,
    /// The right to hold a large one until it is sent.
    _room: Option<Held>,
}

/// Carries out a request; answers the reply.
pub(crate) async fn handle(shared: &Arc<Shared>, frame: Received) -> Result<Reply, Fault> {
    match frame.kind {
        Kind::CreateTopic => reply(topics::create(shared, read(&frame)?).await),
        Kind::UpdateTopic => reply(topics::update(shared, read(&frame)?).await),
        Kind::TruncateTopic => reply(topics::truncate(shared, read(&frame)?).await),
        Kind::DeleteTopic => reply(topics::delete(shared, read(&frame)?).await),
        Kind::ListTopics => reply(Ok(topics::list(shared, &read(&frame)?))),
        Kind::DescribeTopic => reply(topics::describe(shared, &read(&frame)?)),
        Kind::PushPlugin => {
            let request = read(&frame)?;
            // Its room is held until the component is compiled.
            let Payload { bytes, room } = frame.payload;
            let pushed = plugins::push(shared, request, bytes.freeze()).await;
            drop(room);
            reply(pushed)
        }
        Kind::ListPlugins => reply(Ok(plugins::list(&shared.shard.read(), &read(&frame)?))),
        Kind::DescribePlugin => reply(plugins::describe(shared, &read(&frame)?)),
        Kind::RemovePlugin => reply(plugins::remove(shared, read(&frame)?).await),
        Kind::FetchPlugin => {
            let (fetched, component, room) = plugins::fetch(shared, &read(&frame)?).await?;
            Ok(Reply {
                frame: fetched.to_frame(component.len()),
                payload: component,
                _room: Some(room),
            })
        }
        Kind::Bind => reply(bindings::bind(shared, read(&frame)?).await),
        Kind::Unbind => reply(bindings::unbind(shared, read(&frame)?).await),
        Kind::Rollback => reply(bindings::rollback(shared, &read(&frame)?).await),
        Kind::Unquarantine => reply(bindings::unquarantine(shared, &read(&frame)?)),
        Kind::PluginLogs => reply(logs::lines(shared, &read(&frame)?).await),
        Kind::DescribeHistory => reply(bindings::history(shared, &read(&frame)?)),
        Kind::Status => reply(Ok(status(shared))),
        kind => {
            let text = format!("a stream cannot begin with a frame of kind {kind:?}");
            Err(Fault::new(ErrorCode::MalformedFrame, text))
        }
    }
}

fn read<M: FrameMessage>(frame: &Received) -> Result<M, Fault> {
    frame.message().map_err(IntoFault::into_fault)
}

fn reply<M: FrameMessage>(result: Result<M, Fault>) -> Result<Reply, Fault> {
    result.map(|message| Reply {
        frame: message.to_frame(0),
        payload: Bytes::new(),
        _room: None,
    })
}
