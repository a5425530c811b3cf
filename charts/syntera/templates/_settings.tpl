{{/* The operator's settings as environment variables: one for each field of syntera_operator/config.py, which reads some of
OpenTelemetry's own. */}}

{{- define "syntera.peers" -}}
{{- $peers := list -}}
{{- range . -}}
{{- $peers = append $peers (dict "namespace_labels" (default dict .namespaceLabels) "pod_labels" (default dict .podLabels)) -}}
{{- end -}}
{{- $peers | toJson -}}
{{- end -}}

{{- define "syntera.network" -}}
{{- $network := .Values.tenants.network -}}
{{- $own := dict "namespace_labels" (dict "kubernetes.io/metadata.name" .Release.Namespace) "pod_labels" (include "syntera.selectorLabels" . | fromYaml) -}}
{{- dict
  "dns" (include "syntera.peers" $network.dns | fromJsonArray)
  "stores" (include "syntera.peers" $network.stores | fromJsonArray)
  "store_cidrs" $network.storeCIDRs
  "model_cidrs" $network.modelCIDRs
  "operator" (list $own)
  "ingress" (include "syntera.peers" $network.ingress | fromJsonArray)
  "prometheus" (include "syntera.peers" $network.prometheus | fromJsonArray)
  "collectors" (include "syntera.peers" $network.collectors | fromJsonArray)
  "clients" (include "syntera.peers" $network.clients | fromJsonArray)
| toJson -}}
{{- end -}}

{{- define "syntera.pullSecretNames" -}}
{{- $names := list -}}
{{- range . }}{{ $names = append $names .name }}{{ end -}}
{{- $names | toJson -}}
{{- end -}}

{{- define "syntera.passwordsDir" -}}
/var/run/syntera/passwords
{{- end -}}

{{- define "syntera.settings" -}}
- name: SYNTERA_POD_NAME
  valueFrom:
    fieldRef:
      fieldPath: metadata.name
- name: SYNTERA_OPERATOR_NAMESPACE
  value: {{ .Release.Namespace }}
- name: SYNTERA_SERVICE_ACCOUNT
  value: {{ include "syntera.serviceAccountName" . }}
- name: SYNTERA_TENANT_CLUSTER_ROLE
  value: {{ include "syntera.tenantRoleName" . }}
- name: SYNTERA_RUNTIME_IMAGE
  value: {{ include "syntera.image" (dict "root" . "image" .Values.image.runtime) }}
- name: SYNTERA_INGESTION_IMAGE
  value: {{ include "syntera.image" (dict "root" . "image" .Values.image.ingestion) }}
- name: SYNTERA_IMAGE_PULL_POLICY
  value: {{ .Values.image.pullPolicy }}
- name: SYNTERA_IMAGE_PULL_SECRETS
  value: {{ include "syntera.pullSecretNames" .Values.tenants.imagePullSecrets | squote }}
- name: SYNTERA_NETWORK
  value: {{ include "syntera.network" . | squote }}
{{- with .Values.stores.postgresql }}
- name: SYNTERA_POSTGRESQL_URL
  value: {{ .url | quote }}
{{- if .existingSecret }}
- name: SYNTERA_POSTGRESQL_PASSWORD_FILE
  value: {{ include "syntera.passwordsDir" $ }}/postgresql
{{- end }}
{{- with .tenantURL }}
- name: SYNTERA_TENANT_POSTGRESQL_URL
  value: {{ . | quote }}
{{- end }}
- name: SYNTERA_TENANT_CONNECTION_LIMIT
  value: {{ .tenantConnectionLimit | toJson | quote }}
- name: SYNTERA_MIGRATE_ON_START
  value: {{ .migrate | quote }}
{{- end }}
{{- with .Values.stores.redis }}
- name: SYNTERA_REDIS_URL
  value: {{ .url | quote }}
{{- if .existingSecret }}
- name: SYNTERA_REDIS_PASSWORD_FILE
  value: {{ include "syntera.passwordsDir" $ }}/redis
{{- end }}
{{- with .tenantURL }}
- name: SYNTERA_TENANT_REDIS_URL
  value: {{ . | quote }}
{{- end }}
{{- end }}
{{- with .Values.operator }}
{{- if not (and (lt (float64 .lease.retrySeconds) (float64 .lease.renewSeconds)) (lt (float64 .lease.renewSeconds) (float64 .lease.seconds))) }}
{{- fail "operator.lease: retrySeconds must be less than renewSeconds, and renewSeconds less than seconds" }}
{{- end }}
- name: SYNTERA_WORKERS
  value: {{ .workers | toJson | quote }}
- name: SYNTERA_RECONCILE_TIMEOUT_SECONDS
  value: {{ .reconcileTimeoutSeconds | toJson | quote }}
- name: SYNTERA_RESYNC_SECONDS
  value: {{ .resyncSeconds | toJson | quote }}
- name: SYNTERA_LEASE_SECONDS
  value: {{ .lease.seconds | toJson | quote }}
- name: SYNTERA_LEASE_RENEW_SECONDS
  value: {{ .lease.renewSeconds | toJson | quote }}
- name: SYNTERA_LEASE_RETRY_SECONDS
  value: {{ .lease.retrySeconds | toJson | quote }}
- name: SYNTERA_LOG_LEVEL
  value: {{ .logLevel }}
{{- end }}
- name: SYNTERA_METRICS_PORT
  value: {{ .Values.metrics.port | toJson | quote }}
- name: SYNTERA_PROBE_PORT
  value: {{ .Values.probes.port | toJson | quote }}
{{- with .Values.tracing }}
{{- if .endpoint }}
- name: OTEL_EXPORTER_OTLP_ENDPOINT
  value: {{ .endpoint | quote }}
- name: OTEL_TRACES_SAMPLER
  value: parentbased_traceidratio
- name: OTEL_TRACES_SAMPLER_ARG
  value: {{ .samplingRatio | toJson | quote }}
{{- end }}
{{- end }}
{{- end -}}
