package api

import (
	"context"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"ackline/broker/meta"
	"ackline/broker/meta/topicconfig"
)

const (
	resourceTopic  = kmsg.ConfigResourceTypeTopic
	resourceBroker = kmsg.ConfigResourceTypeBroker

	sourceTopic   = kmsg.ConfigSourceDynamicTopicConfig
	sourceDefault = kmsg.ConfigSourceDefaultConfig
)

// topicConfig is one key of a topic with its effective value.
type topicConfig struct {
	key    topicconfig.Key
	value  string
	source kmsg.ConfigSource
	isSet  bool
}

// topicConfigs lists every key, its own value or the default.
func topicConfigs(t *meta.Topic) []topicConfig {
	keys := topicconfig.Keys()
	out := make([]topicConfig, len(keys))
	for i, k := range keys {
		out[i] = topicConfig{key: k, value: k.Default, source: sourceDefault}
		for _, c := range t.Configs {
			if c.Key == k.Name {
				out[i].value, out[i].source, out[i].isSet = c.Value, sourceTopic, true
			}
		}
	}
	return out
}

func (h *Handler) describeConfigs(ctx context.Context, q *kmsg.DescribeConfigsRequest) kmsg.Response {
	behind := h.catchUp(ctx)
	resp := q.ResponseKind().(*kmsg.DescribeConfigsResponse)
	for i := range q.Resources {
		resp.Resources = append(resp.Resources, h.describeResource(&q.Resources[i], q.IncludeDocumentation, q.IncludeSynonyms, behind))
	}
	return resp
}

func (h *Handler) describeResource(q *kmsg.DescribeConfigsRequestResource, doc, synonyms bool, behind error) kmsg.DescribeConfigsResponseResource {
	out := kmsg.NewDescribeConfigsResponseResource()
	out.ResourceType, out.ResourceName = q.ResourceType, q.ResourceName
	switch q.ResourceType {
	case resourceBroker: // nothing of a broker can be set over the protocol, so there is nothing to list
		return out
	case resourceTopic:
	default:
		message := "only topics and brokers have configurations here"
		out.ErrorCode, out.ErrorMessage = codeInvalidRequest, &message
		return out
	}
	if behind != nil {
		message := behind.Error()
		out.ErrorCode, out.ErrorMessage = code(behind), &message
		return out
	}
	t := h.cfg.Cluster.Catalog().TopicNamed(q.ResourceName)
	if t == nil {
		out.ErrorCode = h.unknown(codeUnknownTopicOrPartition)
		return out
	}
	for _, c := range topicConfigs(t) {
		if q.ConfigNames != nil && !slices.Contains(q.ConfigNames, c.key.Name) {
			continue
		}
		out.Configs = append(out.Configs, describeConfig(c, doc, synonyms))
	}
	return out
}

func describeConfig(c topicConfig, doc, synonyms bool) kmsg.DescribeConfigsResponseResourceConfig {
	rc := kmsg.NewDescribeConfigsResponseResourceConfig()
	rc.Name, rc.Value, rc.Source, rc.IsDefault = c.key.Name, &c.value, c.source, !c.isSet
	rc.ConfigType = kmsg.ConfigType(c.key.Type)
	if doc {
		rc.Documentation = &c.key.Doc
	}
	if synonyms {
		if c.isSet {
			rc.ConfigSynonyms = append(rc.ConfigSynonyms, synonym(c.key.Name, c.value, sourceTopic))
		}
		rc.ConfigSynonyms = append(rc.ConfigSynonyms, synonym(c.key.Name, c.key.Default, sourceDefault))
	}
	return rc
}

func synonym(name, value string, source kmsg.ConfigSource) kmsg.DescribeConfigsResponseResourceConfigConfigSynonym {
	s := kmsg.NewDescribeConfigsResponseResourceConfigConfigSynonym()
	s.Name, s.Value, s.Source = name, &value, source
	return s
}
