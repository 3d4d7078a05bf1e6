//! Where to go on behind a subscription that was lost, so that nothing is left out.

use std::collections::HashMap;

use weir_sdk::Subscriber;
use weir_wire::id::{Offset, PartitionId, Timestamp, TopicId};

use crate::output;
use crate::time;

/// Places that are told partition by partition, at most.
const PLACES_MAX: usize = 32;

/// When the last record of each partition was appended, as far as any came.
pub type Times = HashMap<(TopicId, PartitionId), Timestamp>;

/// A partition, and the offset before which everything came.
type Place = (String, PartitionId, Offset);

/// Says how to go on: the end of a sentence. Where there is no one place for all partitions, each
/// has a line of its own.
pub fn advise(subscriber: &Subscriber, times: &Times) -> String {
    let partitions = subscriber.partitions().iter();
    let places = partitions.filter_map(|it| {
        let offset = subscriber.position(&it.topic, it.partition)?;
        Some((it.topic.to_string(), it.partition, offset))
    });
    let places: Vec<Place> = places.collect();
    let partitions = subscriber.partitions().iter();
    let time = time_to_go_on(partitions.map(|it| (it.topic_id, it.partition)), times);
    let (lines, advice) = advice(&places, time);
    for line in lines {
        output::note(&line);
    }
    advice
}

/// The partition that is furthest behind decides; records of others come again. None if nothing has
/// come of one of them: what it holds may be older than all that came.
fn time_to_go_on(
    partitions: impl Iterator<Item = (TopicId, PartitionId)>,
    times: &Times,
) -> Option<Timestamp> {
    let times: Option<Vec<_>> = partitions.map(|it| times.get(&it).copied()).collect();
    times?.into_iter().min()
}

/// A line for each place, and what is said behind them.
fn advice(places: &[Place], time: Option<Timestamp>) -> (Vec<String>, String) {
    let one = match (places, time) {
        ([(_, _, offset)], _) => Some(format!("offset:{offset}")),
        (_, Some(time)) => Some(format!("time:{}", time::format(time))),
        _ => None,
    };
    if let Some(place) = one {
        return (Vec::new(), format!("consume again with --from {place}"));
    }
    if places.len() > PLACES_MAX {
        let advice = "consume again from an earlier place; --from latest would leave out what \
                      came meanwhile";
        return (Vec::new(), advice.to_owned());
    }
    let lines = places.iter().map(|(topic, partition, offset)| {
        format!("topic {topic:?} goes on with --partition {partition} --from offset:{offset}")
    });
    let advice = "consume each partition again from where it stands above";
    (lines.collect(), advice.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn going_on_leaves_no_partition_behind() {
        let at = |number| (TopicId::new(1), PartitionId::new(number));
        let time = |number, time| (at(number), Timestamp::new(time));
        let both = HashMap::from([time(0, 500), time(1, 300)]);
        let on = |count| time_to_go_on((0..count).map(at), &both);
        assert_eq!(on(2), Some(Timestamp::new(300)));
        assert_eq!(on(3), None, "of the third nothing came yet");
    }

    #[test]
    fn every_partition_has_a_place_to_go_on() {
        let place = |partition, offset| {
            let partition = PartitionId::new(partition);
            ("orders".to_owned(), partition, Offset::new(offset))
        };
        let time = Timestamp::new(1_767_323_045_000);
        let two = [place(0, 7), place(1, 0)];
        let same = |places: &[Place], time, expected: &str| {
            assert_eq!(advice(places, time), (Vec::new(), expected.to_owned()));
        };
        let offset = "consume again with --from offset:7";
        same(&two[..1], None, offset);
        same(&two[..1], Some(time), offset);
        let again = "consume again with --from time:2026-01-02T03:04:05.000Z";
        same(&two, Some(time), again);
        let (lines, advice_of_two) = advice(&two, None);
        assert_eq!(
            lines,
            [
                "topic \"orders\" goes on with --partition 0 --from offset:7",
                "topic \"orders\" goes on with --partition 1 --from offset:0",
            ]
        );
        assert!(advice_of_two.contains("above"), "{advice_of_two}");
        let many: Vec<_> = (0..100).map(|partition| place(partition, 1)).collect();
        let (lines, advice) = advice(&many, None);
        assert!(lines.is_empty() && advice.contains("--from latest would leave out"));
    }
}
