//! The ACLs that Foretide needs on a cluster with an authorizer, and no more.

use super::{cleanup_policies, plan::Plan, topics};
use crate::settings::Role;

/// The kind of resource that a permission is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource {
    /// A topic.
    Topic,
    /// A consumer group.
    Group,
    /// Every consumer group whose name has this prefix.
    Groups,
    /// Every transactional id with this prefix.
    TransactionalIds,
}

/// Operations on one resource. In Kafka, `Read` and `Write` imply `Describe`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permission {
    /// The kind of resource.
    pub resource: Resource,
    /// The resource's name, or prefix.
    pub name: String,
    /// The operations, named as Kafka names them.
    pub operations: Vec<&'static str>,
}

/// The commands that grant `permissions` to `user`, such as `User:foretide`. One command covers all resources of a
/// kind with the same operations.
pub fn commands(permissions: &[Permission], servers: &str, user: &str) -> Vec<String> {
    let mut groups: Vec<(&Permission, Vec<&str>)> = Vec::new();
    for one in permissions {
        let same = |(first, _): &&mut (&Permission, Vec<&str>)| {
            (first.resource, &first.operations) == (one.resource, &one.operations)
        };
        match groups.iter_mut().find(same) {
            Some((_, names)) => names.push(&one.name),
            None => groups.push((one, vec![&one.name])),
        }
    }
    let command = |(first, names): &(&Permission, Vec<&str>)| {
        let (option, pattern) = match first.resource {
            Resource::Topic => ("--topic", ""),
            Resource::Group => ("--group", ""),
            Resource::Groups => ("--group", " --resource-pattern-type prefixed"),
            Resource::TransactionalIds => ("--transactional-id", " --resource-pattern-type prefixed"),
        };
        let operations: String = first.operations.iter().map(|name| format!(" --operation {name}")).collect();
        let names: String = names.iter().map(|name| format!(" {option} {name}")).collect();
        format!("kafka-acls.sh --bootstrap-server {servers} --add --allow-principal {user}{operations}{names}{pattern}")
    };
    groups.iter().map(command).collect()
}

/// Every permission that an instance in `role` needs, with `create` also those to create the output topics.
pub fn required(plan: &Plan, role: Role, create: bool) -> Vec<Permission> {
    let serves = role != Role::Train;
    let trains = role != Role::Score && plan.streams.iter().any(|stream| stream.training.is_some());
    let permission = |resource, name: &str, operations| Permission { resource, name: name.to_owned(), operations };
    let inputs = plan.topics();
    let read = |topic: &String| {
        // Whether an input topic is compacted decides when its series are snapshotted.
        let operations = if inputs.contains(topic) { vec!["Read", "DescribeConfigs"] } else { vec!["Read"] };
        permission(Resource::Topic, topic, operations)
    };
    let mut all: Vec<Permission> = plan.all_topics().iter().map(read).collect();
    for repartition in plan.repartition_topics() {
        let mut operations = vec!["Read"];
        operations.extend(serves.then_some("Write"));
        operations.push("DescribeConfigs");
        operations.extend(create.then_some("Create"));
        all.push(permission(Resource::Topic, &repartition.topic, operations));
    }
    for topic in topics::output_topics(plan, 1) {
        let mut operations = Vec::new();
        let read = topics::reads_own_topic(plan, role, &topic.name);
        let written = if topic.name == plan.models_topic { trains } else { serves };
        operations.extend(read.then_some("Read"));
        operations.extend(written.then_some("Write"));
        // Every instance checks that the topics exist.
        operations.extend((!read && !written).then_some("Describe"));
        // A shard asks which record sizes its topics accept, everybody whether states and weights are compacted.
        let described = serves && written || cleanup_policies::keyed_topics(plan).contains(&topic.name);
        operations.extend(described.then_some("DescribeConfigs"));
        operations.extend(create.then_some("Create"));
        all.push(permission(Resource::Topic, &topic.name, operations));
    }
    if serves {
        all.push(permission(Resource::Group, &plan.app, vec!["Read"]));
    }
    if trains {
        all.push(permission(Resource::Group, &format!("{}.trainer", plan.app), vec!["Read"]));
    }
    let own = format!("{}.", plan.app);
    // Readers outside of any group have a group name too, and look up its coordinator.
    all.push(permission(Resource::Groups, &own, vec!["Describe"]));
    all.push(permission(Resource::TransactionalIds, &own, vec!["Write"]));
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{daemon::specs, settings};

    const CONFIGURATION: &str = "[[stream]]\nname = \"s\"\ntopics = [\"in\"]\nvalues = [\"v\"]\ninterval = \"1m\"\n";

    fn lines(role: Role, create: bool) -> Vec<String> {
        lines_of(CONFIGURATION, role, create)
    }

    fn lines_of(configuration: &str, role: Role, create: bool) -> Vec<String> {
        let settings = settings::parse("f.toml", configuration, []).unwrap();
        let all = required(&specs::plan(&settings).unwrap(), role, create);
        all.iter().map(|one| format!("{:?} {} {}", one.resource, one.name, one.operations.join("+"))).collect()
    }

    #[test]
    fn a_scorer_may_not_write_weights_nor_a_trainer_forecasts() {
        let scorer = [
            "Topic in Read+DescribeConfigs",
            "Topic foretide.state Read+Write+DescribeConfigs",
            "Topic foretide.models Read+DescribeConfigs",
            "Topic foretide.dead-letters Write+DescribeConfigs",
            "Topic foretide.s.forecasts Write+DescribeConfigs",
            "Group foretide Read",
            "Groups foretide. Describe",
            "TransactionalIds foretide. Write",
        ];
        assert_eq!(lines(Role::Score, false), scorer);
        let trainer = [
            "Topic in Read+DescribeConfigs",
            "Topic foretide.state Describe+DescribeConfigs+Create",
            "Topic foretide.models Read+Write+DescribeConfigs+Create",
            "Topic foretide.dead-letters Describe+Create",
            "Topic foretide.s.forecasts Describe+Create",
            "Group foretide.trainer Read",
            "Groups foretide. Describe",
            "TransactionalIds foretide. Write",
        ];
        assert_eq!(lines(Role::Train, true), trainer);
        assert_eq!(lines(Role::All, false).len(), scorer.len() + 1);
    }

    #[test]
    fn every_role_may_read_future_covariates() {
        let covariates = "future_covariates = { topic = \"weather\", values = [\"t\"], time = { field = \"at\" } }\n";
        for role in [Role::All, Role::Score, Role::Train] {
            let lines = lines_of(&format!("{CONFIGURATION}{covariates}"), role, false);
            assert_eq!(lines[..2], ["Topic in Read+DescribeConfigs", "Topic weather Read"], "{role}");
        }
    }

    #[test]
    fn a_repartition_topic_is_read_and_written() {
        let configuration = format!("{CONFIGURATION}repartition = true\n");
        let scorer = lines_of(&configuration, Role::Score, true);
        assert_eq!(scorer[..2], ["Topic in Read", "Topic foretide.s.repartition Read+Write+DescribeConfigs+Create"]);
        let trainer = lines_of(&configuration, Role::Train, false);
        assert_eq!(trainer[..2], ["Topic in Read", "Topic foretide.s.repartition Read+DescribeConfigs"]);
    }

    #[test]
    fn one_command_grants_the_same_on_all_resources_of_a_kind() {
        let permission = |resource, name: &str| Permission { resource, name: name.into(), operations: vec!["Write"] };
        let permissions = [
            permission(Resource::Topic, "a"),
            permission(Resource::TransactionalIds, "x."),
            permission(Resource::Topic, "b"),
        ];
        let head = "kafka-acls.sh --bootstrap-server k:1 --add --allow-principal User:me --operation Write";
        let expected = [
            format!("{head} --topic a --topic b"),
            format!("{head} --transactional-id x. --resource-pattern-type prefixed"),
        ];
        assert_eq!(commands(&permissions, "k:1", "User:me"), expected);
    }
}
