def sync_rooms(url, redis_url, file):
    return ""
