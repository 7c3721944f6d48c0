variable "name" {
  description = "Prefix of the names of all resources."
  type        = string
  default     = "fraud-pipeline"
}

variable "bucket_name" {
  description = "Globally unique name of the bucket for landing zone, lake, artefacts and logs."
  type        = string
}

variable "vpc_id" {
  description = "VPC in which the database and its clients live."
  type        = string
}

variable "private_subnet_ids" {
  description = "At least two private subnets in different zones for the database."
  type        = list(string)

  validation {
    condition     = length(var.private_subnet_ids) >= 2
    error_message = "RDS needs two subnets or more."
  }
}

variable "client_security_group_id" {
  description = "Security group of the machines or pods that connect to the database."
  type        = string
}

variable "oidc_provider_arn" {
  description = "OIDC provider of the EKS cluster whose pods assume the role."
  type        = string
}

variable "service_account" {
  description = "namespace:name of the Kubernetes service account that assumes the role."
  type        = string
  default     = "fraud-pipeline:fraud-pipeline"
}

variable "database_instance_class" {
  description = "Size of the PostgreSQL instance."
  type        = string
  default     = "db.m7g.large"
}

variable "noncurrent_version_days" {
  description = "After how many days replaced versions of objects are removed."
  type        = number
  default     = 90
}
