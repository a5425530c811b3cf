{{/* What every template shares: names, labels, images. Nothing here reads the cluster. */}}

{{- define "syntera.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* First part of every object's name. 40 characters leave room for the longest suffix below the limit of a label. */}}
{{- define "syntera.fullname" -}}
{{- $name := include "syntera.name" . -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "syntera.operatorName" -}}
{{ include "syntera.fullname" . }}-operator
{{- end -}}

{{- define "syntera.tenantRoleName" -}}
{{ include "syntera.fullname" . }}-tenant-namespace
{{- end -}}

{{- define "syntera.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "syntera.operatorName" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- required "serviceAccount.name is needed where serviceAccount.create is false" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{/* Who the operator is to the API server. */}}
{{- define "syntera.operatorUser" -}}
system:serviceaccount:{{ .Release.Namespace }}:{{ include "syntera.serviceAccountName" . }}
{{- end -}}

{{- define "syntera.selectorLabels" -}}
app.kubernetes.io/name: {{ include "syntera.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end -}}

{{/* Labels of an object that belongs to no component. */}}
{{- define "syntera.commonLabels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
app.kubernetes.io/name: {{ include "syntera.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "syntera.labels" -}}
{{ include "syntera.commonLabels" . }}
app.kubernetes.io/component: operator
{{- end -}}

{{/* An image's whole name; the digest wins over the tag. Takes (dict "root" $ "image" VALUES). */}}
{{- define "syntera.image" -}}
{{- $name := .image.repository -}}
{{- with .root.Values.image.registry }}{{ $name = printf "%s/%s" . $name }}{{ end -}}
{{- if .image.digest -}}
{{ $name }}@{{ .image.digest }}
{{- else -}}
{{ $name }}:{{ default .root.Chart.AppVersion .image.tag }}
{{- end -}}
{{- end -}}

{{/* What the operator's pods must not do; the same in every container of the chart. */}}
{{- define "syntera.podSecurityContext" -}}
runAsNonRoot: true
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "syntera.containerSecurityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{/* The ServiceAccount's token, the cluster's certificate and the namespace, at the usual path, mounted on purpose. */}}
{{- define "syntera.tokenVolume" -}}
- name: token
  projected:
    # Readable by the image's user, whatever its number; nobody else is in the container.
    defaultMode: 0444
    sources:
      - serviceAccountToken:
          path: token
          expirationSeconds: 3600
      - configMap:
          name: kube-root-ca.crt
          items:
            - key: ca.crt
              path: ca.crt
      - downwardAPI:
          items:
            - path: namespace
              fieldRef:
                fieldPath: metadata.namespace
{{- end -}}

{{- define "syntera.tokenMount" -}}
- name: token
  mountPath: /var/run/secrets/kubernetes.io/serviceaccount
  readOnly: true
{{- end -}}

{{/* The ports in a store's URL, or its protocol's own, as a JSON list. Takes (dict "url" URL "default" PORT). */}}
{{- define "syntera.storePorts" -}}
{{- $hosts := regexReplaceAll "^[^:]+://([^@/]*@)?" .url "" -}}
{{- $hosts = regexReplaceAll "[/?#].*$" $hosts "" -}}
{{- $hosts = regexReplaceAll "\\[[^\\]]*\\]" $hosts "" -}}
{{- $ports := list -}}
{{- range regexFindAll ":[0-9]+" $hosts -1 }}{{ $ports = append $ports (trimPrefix ":" . | int) }}{{ end -}}
{{- default (list .default) ($ports | uniq) | toJson -}}
{{- end -}}
