output "bucket" {
  description = "Bucket for FRAUD_PIPELINE_LANDING_ROOT, _LAKE_ROOT, _ARTEFACT_ROOT and _COMPUTE_LOGS_BUCKET."
  value       = aws_s3_bucket.data.bucket
}

output "database_address" {
  description = "Host and port of PostgreSQL."
  value       = aws_db_instance.main.endpoint
}

output "database_password_secret" {
  description = "Secret of the owner's password in AWS Secrets Manager; migrations run as the owner."
  value       = aws_db_instance.main.master_user_secret[0].secret_arn
}

output "role_arn" {
  description = "Role for the service account in helm/values.yaml."
  value       = aws_iam_role.pipeline.arn
}
