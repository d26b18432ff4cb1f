package meta

import "fmt"

// Code is the reason of a refusal: Kafka's error code, so that a client gets it unchanged.
type Code int16

// The codes that are used.
const (
	CodeUnknownPartition         Code = 3   // UNKNOWN_TOPIC_OR_PARTITION
	CodeInvalidTopic             Code = 17  // INVALID_TOPIC_EXCEPTION
	CodeUnsupportedVersion       Code = 35  // UNSUPPORTED_VERSION
	CodeTopicExists              Code = 36  // TOPIC_ALREADY_EXISTS
	CodeInvalidPartitions        Code = 37  // INVALID_PARTITIONS
	CodeInvalidReplicationFactor Code = 38  // INVALID_REPLICATION_FACTOR
	CodeInvalidReplicaAssignment Code = 39  // INVALID_REPLICA_ASSIGNMENT
	CodeInvalidConfig            Code = 40  // INVALID_CONFIG
	CodeInvalidRequest           Code = 42  // INVALID_REQUEST
	CodePolicyViolation          Code = 44  // POLICY_VIOLATION
	CodeFeatureUpdateFailed      Code = 96  // FEATURE_UPDATE_FAILED
	CodeUnknownTopicID           Code = 100 // UNKNOWN_TOPIC_ID
	CodeDuplicateNode            Code = 101 // DUPLICATE_BROKER_REGISTRATION
	CodeNodeNotRegistered        Code = 102 // BROKER_ID_NOT_REGISTERED
	CodeInconsistentClusterID    Code = 104 // INCONSISTENT_CLUSTER_ID
)

// Refusal is a request that the state or the policy forbids. Nothing changed.
type Refusal struct {
	Code    Code
	Message string // for the client: what is wrong and what would be right
}

func (r *Refusal) Error() string { return r.Message }

func refuse(code Code, format string, args ...any) *Refusal {
	return &Refusal{Code: code, Message: fmt.Sprintf(format, args...)}
}

// Allows says whether commands of a kind may be proposed at the Catalog's feature level; nil is yes.
func (c *Catalog) Allows(k Kind) *Refusal { return allowed(k, kinds[k].since, c.level) }

func allowed(k Kind, since, level uint32) *Refusal {
	if level >= since {
		return nil
	}
	if level == 0 {
		return refuse(CodeInvalidRequest, "%v: the cluster is not bootstrapped yet", k)
	}
	return refuse(CodeUnsupportedVersion, "%v needs feature level %d, the cluster is at %d: raise it once every node "+
		"runs a version that knows it", k, since, level)
}
