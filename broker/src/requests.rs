//! Control requests: one frame in, one frame out.

mod plugins;
mod status;
mod topics;

use std::sync::Arc;

use weir_wire::error::{ErrorCode, Fault};
use weir_wire::frame::{FrameMessage, Kind};

use crate::fault::IntoFault;
use crate::frames::{Payload, Received};
use crate::state::Shared;

pub(crate) use plugins::{binding_info, filter_fault};
pub(crate) use status::status;

/// Carries out a request; answers the reply's frame.
pub(crate) async fn handle(shared: &Arc<Shared>, frame: Received) -> Result<Vec<u8>, Fault> {
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
        Kind::ListPlugins => reply(Ok(plugins::list(shared))),
        Kind::DescribePlugin => reply(plugins::describe(shared, &read(&frame)?)),
        Kind::RemovePlugin => reply(plugins::remove(shared, read(&frame)?).await),
        Kind::Bind => reply(plugins::bind(shared, read(&frame)?).await),
        Kind::Unbind => reply(plugins::unbind(shared, read(&frame)?).await),
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

fn reply<M: FrameMessage>(result: Result<M, Fault>) -> Result<Vec<u8>, Fault> {
    result.map(|message| message.to_frame(0))
}
