//! How our own types stand in a message's field.

use crate::error::ErrorCode;
use crate::id::{
    BindingEpoch, BindingId, Offset, PartitionId, PluginVersion, ProducerEpoch, ProducerId,
    Sequence, SubscriptionId, Timestamp, TopicId,
};
use crate::message::{
    MessageError, Raw, Scalar, delimited, put_delimited, put_varint, text, varint,
};
use crate::name::{GroupName, PluginName, TopicName};
use crate::plugin::{BindingAction, ErrorPolicy, Hook};
use crate::topic::WhenUnread;

macro_rules! numbers {
    ($($type:ty, $inner:ty, $wrap:expr, $unwrap:expr;)*) => {$(
        impl Scalar for $type {
            const VARINT: bool = true;

            fn put(&self, number: u32, out: &mut Vec<u8>) {
                let value: $inner = ($unwrap)(*self);
                put_varint(number, u64::from(value), out);
            }

            fn read(raw: Raw<'_>, field: &'static str) -> Result<Self, MessageError> {
                let value = varint(raw, field)?;
                let value = <$inner>::try_from(value).map_err(|_| MessageError::Value {
                    field,
                    reason: format!("{value} is too large"),
                })?;
                Ok(($wrap)(value))
            }

            fn absent(field: &'static str) -> Result<Self, MessageError> {
                Self::read(Raw::Varint(0), field)
            }
        }
    )*};
}

numbers! {
    u32, u32, |n| n, |n| n;
    u64, u64, |n| n, |n| n;
    TopicId, u64, TopicId::new, |id: TopicId| id.value();
    PartitionId, u32, PartitionId::new, |id: PartitionId| id.value();
    Offset, u64, Offset::new, |id: Offset| id.value();
    ProducerId, u64, ProducerId::new, |id: ProducerId| id.value();
    ProducerEpoch, u32, ProducerEpoch::new, |id: ProducerEpoch| id.value();
    Sequence, u64, Sequence::new, |id: Sequence| id.value();
    BindingId, u64, BindingId::new, |id: BindingId| id.value();
    BindingEpoch, u64, BindingEpoch::new, |id: BindingEpoch| id.value();
    SubscriptionId, u64, SubscriptionId::new, |id: SubscriptionId| id.value();
    Timestamp, u64, |n: u64| Timestamp::new(n as i64), |time: Timestamp| time.value() as u64;
}

impl Scalar for bool {
    const VARINT: bool = true;

    fn put(&self, number: u32, out: &mut Vec<u8>) {
        put_varint(number, u64::from(*self), out);
    }

    fn read(raw: Raw<'_>, field: &'static str) -> Result<Self, MessageError> {
        varint(raw, field).map(|value| value != 0)
    }

    fn absent(_field: &'static str) -> Result<Self, MessageError> {
        Ok(false)
    }
}

macro_rules! enums {
    ($($type:ty, $read:expr;)*) => {$(
        impl Scalar for $type {
            const VARINT: bool = true;

            fn put(&self, number: u32, out: &mut Vec<u8>) {
                put_varint(number, *self as u64, out);
            }

            fn read(raw: Raw<'_>, field: &'static str) -> Result<Self, MessageError> {
                let value = varint(raw, field)?;
                $read(value).ok_or_else(|| MessageError::Value {
                    field,
                    reason: format!("{value} has no meaning here"),
                })
            }
        }
    )*};
}

enums! {
    Hook, Hook::from_number;
    ErrorPolicy, ErrorPolicy::from_number;
    BindingAction, BindingAction::from_number;
    ErrorCode, |number| Some(ErrorCode::from_number(number));
}

macro_rules! names {
    ($($type:ty;)*) => {$(
        impl Scalar for $type {
            fn put(&self, number: u32, out: &mut Vec<u8>) {
                put_delimited(number, self.to_string().as_bytes(), out);
            }

            fn read(raw: Raw<'_>, field: &'static str) -> Result<Self, MessageError> {
                let name = text(raw, field)?;
                name.parse()
                    .map_err(|error| MessageError::Name { field, error })
            }
        }
    )*};
}

names! {
    TopicName;
    PluginName;
    GroupName;
}

impl Scalar for WhenUnread {
    const VARINT: bool = true;

    fn put(&self, number: u32, out: &mut Vec<u8>) {
        put_varint(number, *self as u64, out);
    }

    fn read(raw: Raw<'_>, field: &'static str) -> Result<Self, MessageError> {
        let value = varint(raw, field)?;
        Self::from_number(value).ok_or_else(|| MessageError::Value {
            field,
            reason: format!("{value} has no meaning here"),
        })
    }

    fn absent(_field: &'static str) -> Result<Self, MessageError> {
        Ok(Self::default())
    }
}

impl Scalar for PluginVersion {
    fn put(&self, number: u32, out: &mut Vec<u8>) {
        put_delimited(number, self.as_bytes(), out);
    }

    fn read(raw: Raw<'_>, field: &'static str) -> Result<Self, MessageError> {
        let digest =
            <[u8; 32]>::try_from(delimited(raw, field)?).map_err(|_| MessageError::Value {
                field,
                reason: "a version is 32 bytes".to_owned(),
            })?;
        Ok(Self::new(digest))
    }
}
